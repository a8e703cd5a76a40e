"""Loads a checkpoint directory into a model that can be run.

Safetensors only, no code from the checkpoint, nothing from a hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torchao.quantization import Int8WeightOnlyConfig
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    TorchAoConfig,
)

from echoplaned.core.facts import Dtype, Task
from echoplaned.worker.chat_template import ChatTemplate, read_template
from echoplaned.worker.copying import own_weights
from echoplaned.worker.finite import check_finite
from echoplaned.worker.heap import returning_heap
from echoplaned.worker.memory import release_free_memory
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.pooling import Pooling, read_pooling
from echoplaned.worker.sentences import SentenceOptions, read_sentence_options
from echoplaned.worker.tokenizer_cost import TokenizerCost, read_cost
from echoplaned.worker.tokenizing import highest_token
from echoplaned.worker.weight_files import loadable, weight_files
from echoplaned.worker.weight_memory import WeightMemory
from echoplaned.worker_contract.content import Content, open_content
from echoplaned.worker_contract.inference.errors import InvalidInputError, LoadError

_MODEL_CLASSES: Final = {
    Task.EMBEDDING: AutoModel,
    Task.CLASSIFICATION: AutoModelForSequenceClassification,
    Task.GENERATION: AutoModelForCausalLM,
}
_TORCH_DTYPES: Final = {
    Dtype.FP32: torch.float32,
    Dtype.FP16: torch.float16,
    Dtype.BF16: torch.bfloat16,
}
# By the names of the safetensors format.
_STORED_DTYPES: Final = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WHOLE_NUMBERS: Final = ("I", "U", "BOOL")  # how the names of dtypes begin that are no floats
_AHEAD_BYTES: Final = 256 * 2**20
_AHEAD_SPARE_BYTES: Final = 2**20  # address space for what the places between weights take
# Experts that files keep one by one are put together as one parameter of this name.
_EXPERTS: Final = ".experts."
# Weights that a task never reads may be missing from the file: an embedding uses the token vectors, not the pooler.
_UNUSED_WEIGHTS: Final = {Task.EMBEDDING: "pooler.", Task.CLASSIFICATION: None, Task.GENERATION: None}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode, with what turns text into inputs and outputs.

    Attributes:
        options: load options that it was made from.
        model: torch model, in evaluation mode.
        tokenizer: tokenizer of the checkpoint.
        pooling: pooling of token vectors into a text vector; the default unless the task is embedding.
        sentences: text preparation before tokenising; the default unless the task is embedding.
        pad_token_id: token id that short rows are filled up with, 0 to ``vocabulary_size`` - 1; masked.
        vocabulary_size: token ids that the model has an embedding for, as its config says.
        stop_token_ids: ids of the tokens that end a generation.
        storage_bytes: bytes of unique tensor storage; a tied weight counts once.
        tokenizer_cost: what texts may cost the tokenizer.
        chat: how a conversation becomes a text; None: the checkpoint does not say.
    """

    options: LoadOptions
    model: PreTrainedModel
    tokenizer: Tokenizer
    pooling: Pooling
    sentences: SentenceOptions
    pad_token_id: int
    vocabulary_size: int
    stop_token_ids: frozenset[int]
    storage_bytes: int
    tokenizer_cost: TokenizerCost
    chat: ChatTemplate | None = None


def load_model(options: LoadOptions) -> LoadedModel:
    """Load a checkpoint into memory of the process's own.

    Afterwards its files may change or go.

    Raises:
        LoadSourceChangedError: the files are not those that were ordered, or changed while they were read.
        LoadError: the files are missing, damaged or of a kind that this engine does not serve; the message says which.
    """
    with open_content(options, options.links_dir) as content:
        try:
            return _load(options, content)
        finally:
            # Also where it failed: what was written while it was read may look damaged.
            content.check_unchanged()


def _load(options: LoadOptions, content: Content) -> LoadedModel:
    """Load what lies in a directory of open files."""
    source = content.directory
    stored_bytes = read_stored_bytes(source)
    if _is_cast(options, stored_bytes):
        check_weights(source)
    embeds = options.task is Task.EMBEDDING
    pooling = read_pooling(source) if embeds else Pooling()
    sentences = read_sentence_options(source) if embeds else SentenceOptions()
    try:
        with _memory_ahead(options, stored_bytes) as ahead:
            tokenizer, chat = _load_tokenizer(source)
            # Before the weights: for a moment they take the vocabulary's size in memory.
            highest, cost = highest_token(tokenizer), read_cost(tokenizer)
            with returning_heap():
                model = _load_weights(options, content, stored_bytes)
                own_weights(model, content.descriptors, ahead)
    except MemoryError as error:
        raise LoadError("no memory for the model", retryable=True) from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
        InvalidInputError,  # the tokenizer's, for the empty text
    ) as error:
        # The loader raises any of these for files it cannot use; each is a reason, none is a crash of the worker.
        raise LoadError(f"{type(error).__name__}: {error}", retryable=_is_out_of_memory(error)) from error
    model.eval()
    config = model.config
    _check_tokenizer(highest, int(config.vocab_size))
    if options.task is not Task.GENERATION and getattr(config, "use_cache", False):
        # A decoder that embeds would keep keys and values that nobody asks for.
        config.use_cache = False
    return LoadedModel(
        options=options,
        model=model,
        tokenizer=tokenizer,
        pooling=pooling,
        sentences=sentences,
        pad_token_id=_padding(config),
        vocabulary_size=int(config.vocab_size),
        stop_token_ids=_stop_tokens(model),
        storage_bytes=storage_bytes(model),
        tokenizer_cost=cost,
        chat=chat if options.task is Task.GENERATION else None,
    )


@contextmanager
def _memory_ahead(options: LoadOptions, stored_bytes: Mapping[str, int]) -> Iterator[WeightMemory | None]:
    """Begin to take memory for weights while the tokenizer and the model are made.

    They are copied into it; None where weights are cast. No more than ``_AHEAD_BYTES``: what the model leaves in files is not known.
    """
    if _is_cast(options, stored_bytes):
        yield None
        return
    whole_bytes = sum(stored_bytes.values())
    with WeightMemory(whole_bytes + whole_bytes // 64 + _AHEAD_SPARE_BYTES) as memory:
        memory.take_ahead(min(whole_bytes, _AHEAD_BYTES))
        yield memory


def _check_tokenizer(highest: int, vocabulary_size: int) -> None:
    """Raise if the tokenizer has tokens that the model has no embedding for.

    A text with one of them would fail its whole batch.
    """
    if highest >= vocabulary_size:
        raise LoadError(
            f"the tokenizer does not belong to the model: its ids go up to {highest}, the config's vocab_size is {vocabulary_size}"
        )


def _padding(config: PretrainedConfig) -> int:
    """Return the id that short rows are filled up with.

    It is masked, and need only be one that the model has an embedding for.
    """
    token = config.pad_token_id
    return token if isinstance(token, int) and 0 <= token < config.vocab_size else 0


def _is_out_of_memory(error: Exception) -> bool:
    """Say whether an error means that a device or the host had no room.

    Torch has a type for the first and only a text for the second.
    """
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def check_weights(source: Path) -> None:
    """Look at every floating-point weight once.

    Raises:
        LoadError: a file cannot be read, or a tensor holds NaN or an infinity.
    """
    for path in weight_files(source):
        with _readable(path) as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                check_finite(name, file.get_tensor(name))


def read_stored_bytes(source: Path) -> dict[str, int]:
    """Return the bytes of a checkpoint's weights by the dtypes of the files.

    The dtypes are named as in the safetensors format.

    Raises:
        LoadError: a file cannot be read.
    """
    found: dict[str, int] = {}
    for path in weight_files(source):
        with _readable(path) as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                part = file.get_slice(name)
                kind = part.get_dtype()
                itemsize = _STORED_DTYPES[kind].itemsize if kind in _STORED_DTYPES else 1
                found[kind] = found.get(kind, 0) + math.prod(part.get_shape()) * itemsize
    return found


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """Open a file of weights; what is wrong with it is said with its name."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise LoadError(f"{path.name}: {error}") from error


def _main_dtype(stored_bytes: Mapping[str, int]) -> torch.dtype:
    """Return the dtype that holds most bytes of a checkpoint.

    Of equals the more precise one; FP32 where it has no floats.

    An INT8 load starts from it: what is not quantised keeps it, and so the sizes that were planned hold.
    """
    found = [kind for kind in stored_bytes if kind in _STORED_DTYPES]
    most = max(found, key=lambda kind: (stored_bytes[kind], _STORED_DTYPES[kind].itemsize), default="F32")
    return _STORED_DTYPES[most]


def _is_cast(options: LoadOptions, stored_bytes: Mapping[str, int]) -> bool:
    """Say whether weights are used in another form, or place, than the files' own.

    Those are looked at in the files. All others are looked at while they are copied, which spares a pass over the files.
    """
    if options.device != "cpu" or options.dtype is Dtype.INT8:
        return True
    wanted = _TORCH_DTYPES[options.dtype]
    return any(_STORED_DTYPES.get(kind) is not wanted for kind in stored_bytes if not kind.startswith(_WHOLE_NUMBERS))


def _check_cast(model: PreTrainedModel, dtype: Dtype) -> None:
    """Raise if a weight left the range of a smaller dtype.

    FP32 and INT8 (scaled) cannot lose any, and BF16 has FP32's range.
    """
    if dtype is not Dtype.FP16:
        return
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise LoadError(f"the weights of {name} do not fit into FP16; BF16 has the range")


def _load_tokenizer(source: Path) -> tuple[Tokenizer, ChatTemplate | None]:
    """Return the checkpoint's tokenizer and its chat template.

    The tokenizer does no truncation or padding of its own. The template is None where there is none to use.
    """
    wrapper = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    backend = getattr(wrapper, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise LoadError("the checkpoint has no tokenizer.json, nor files that one can be made from")
    backend.no_truncation()
    backend.no_padding()
    return backend, read_template(getattr(wrapper, "chat_template", None), wrapper.special_tokens_map)


def _load_weights(options: LoadOptions, content: Content, stored_bytes: Mapping[str, int]) -> PreTrainedModel:
    """Run transformers' own loader and refuse what it would quietly make up."""
    quantization: dict[str, Any] = {}
    if options.dtype is Dtype.INT8:
        # Through transformers, so that exactly the linear layers are taken and a tied output embedding stays tied.
        quantization["quantization_config"] = TorchAoConfig(Int8WeightOnlyConfig())
    wanted = _main_dtype(stored_bytes) if options.dtype is Dtype.INT8 else _TORCH_DTYPES[options.dtype]
    with loadable(content.directory) as path:
        model, info = _MODEL_CLASSES[options.task].from_pretrained(
            path,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=wanted,
            output_loading_info=True,
            **quantization,
        )
    unused = _UNUSED_WEIGHTS[options.task]
    missing = sorted(name for name in info["missing_keys"] if unused is None or not name.startswith(unused))
    if missing:
        raise LoadError(f"the checkpoint lacks {len(missing)} of the model's weights, among them {missing[0]}")
    if info["mismatched_keys"]:
        raise LoadError(f"the config disagrees with the weights: {min(map(str, info['mismatched_keys']))}")
    if options.device != "cpu":
        model.to(options.device)
    if options.dtype is Dtype.INT8 or any(_EXPERTS in name for name, _ in model.named_parameters()):
        # What these were made of is garbage by now, as large as they are.
        release_free_memory()
    if _is_cast(options, stored_bytes):
        _check_cast(model, options.dtype)  # before all weights are looked at, to whom infinity is infinity
    return model


def _stop_tokens(model: PreTrainedModel) -> frozenset[int]:
    """Return the ids that end a generation, from the generation config or the model's."""
    generation = getattr(model, "generation_config", None)
    ids = getattr(generation, "eos_token_id", None)
    if ids is None:
        ids = getattr(model.config, "eos_token_id", None)
    if ids is None:
        return frozenset()
    return frozenset([ids] if isinstance(ids, int) else ids)


def storage_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of all distinct tensor storages of a model.

    A tied weight counts once.
    """
    seen: dict[int, int] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        for part in _plain_tensors(tensor):
            storage = part.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
    return sum(seen.values())


def _plain_tensors(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the dense tensors that a (possibly quantised) tensor is made of."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in _plain_tensors(getattr(tensor, name))]
