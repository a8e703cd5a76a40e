"""From a checkpoint directory to a model that can be run: safetensors only, no repository code, nothing from a hub."""

from __future__ import annotations

import math
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
from echoplaned.worker.copying import own_weights
from echoplaned.worker.heap import returning_heap
from echoplaned.worker.memory import release_free_memory
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.pooling import Pooling, read_pooling
from echoplaned.worker.sentences import SentenceOptions, read_sentence_options
from echoplaned.worker.tokenizing import highest_token
from echoplaned.worker.weight_files import loadable, weight_files
from echoplaned.worker_contract.content import open_content
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
# Experts that files keep one by one are put together as one parameter of this name.
_EXPERTS: Final = ".experts."
# Weights that a task never reads may be missing from the file: an embedding uses the token vectors, not the pooler.
_UNUSED_WEIGHTS: Final = {Task.EMBEDDING: "pooler.", Task.CLASSIFICATION: None, Task.GENERATION: None}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode, with what is needed to turn text into its inputs and its outputs into answers.

    ``storage_bytes``: unique tensor storage. ``stop_token_ids``: tokens that end a generation.
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


def load_model(options: LoadOptions) -> LoadedModel:
    """Load a checkpoint into memory of the process's own; afterwards its files may change or go.

    Raises:
        SourceChangedError: the files are not those that were ordered, or changed while they were read.
        LoadError: the files are missing, damaged or of a kind that this engine does not serve; the message says which.
    """
    with open_content(options, options.links_dir) as content:
        loaded = _load(options, content.directory)
        content.check_unchanged()
    return loaded


def _load(options: LoadOptions, source: Path) -> LoadedModel:
    """Load what lies in a directory."""
    check_weights(source)
    embeds = options.task is Task.EMBEDDING
    pooling = read_pooling(source) if embeds else Pooling()
    sentences = read_sentence_options(source) if embeds else SentenceOptions()
    try:
        tokenizer = _load_tokenizer(source)
        # Before the weights: for a moment it takes the vocabulary's size in memory.
        highest = highest_token(tokenizer)
        with returning_heap():
            model = _load_weights(options, source)
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
    _check_cast(model, options.dtype)
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
    )


def _check_tokenizer(highest: int, vocabulary_size: int) -> None:
    """Raise if the tokenizer has tokens that the model has no embedding for: a text with one of them would fail its whole batch."""
    if highest >= vocabulary_size:
        raise LoadError(
            f"the tokenizer does not belong to the model: its ids go up to {highest}, the config's vocab_size is {vocabulary_size}"
        )


def _padding(config: PretrainedConfig) -> int:
    """Return the id that short rows are filled up with; it is masked, and need only be one that the model has."""
    token = config.pad_token_id
    return token if isinstance(token, int) and 0 <= token < config.vocab_size else 0


def _is_out_of_memory(error: Exception) -> bool:
    """Say whether a device or the host had no room: torch has a type for the first and only a text for the second."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def check_weights(source: Path) -> None:
    """Look at every floating-point weight once.

    Raises:
        LoadError: a file cannot be read, or a tensor holds NaN or an infinity.
    """
    for path in weight_files(source):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    _check_finite(name, file.get_tensor(name))
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            raise LoadError(f"{path.name}: {error}") from error


def stored_dtype(source: Path) -> torch.dtype:
    """Return the dtype that holds most bytes of a checkpoint, of equals the more precise one; FP32 where it has no floats.

    An INT8 load starts from it: what is not quantised keeps it, and so the sizes that were planned hold.
    """
    found: dict[str, int] = {}
    for path in weight_files(source):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                part = file.get_slice(name)
                kind = part.get_dtype()
                if kind in _STORED_DTYPES:
                    found[kind] = found.get(kind, 0) + math.prod(part.get_shape()) * _STORED_DTYPES[kind].itemsize
    most = max(found, key=lambda kind: (found[kind], _STORED_DTYPES[kind].itemsize), default="F32")
    return _STORED_DTYPES[most]


def _check_finite(name: str, tensor: torch.Tensor) -> None:
    """Raise if a tensor holds NaN or an infinity."""
    if not tensor.is_floating_point() or not tensor.numel():
        return
    # A sum takes one pass and no memory and is finite only if all terms are; it may overflow, so only then look closer.
    wide = torch.float32 if tensor.element_size() < torch.float32.itemsize else tensor.dtype
    if not bool(torch.isfinite(tensor.sum(dtype=wide))) and not bool(torch.isfinite(tensor.to(wide)).all()):
        raise LoadError(f"the weights of {name} are not finite (NaN or an infinity)")


def _check_cast(model: PreTrainedModel, dtype: Dtype) -> None:
    """Raise if a weight left the range of a smaller dtype; FP32 and INT8 (scaled) cannot, BF16 has FP32's range."""
    if dtype is not Dtype.FP16:
        return
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise LoadError(f"the weights of {name} do not fit into FP16; BF16 has the range")


def _load_tokenizer(source: Path) -> Tokenizer:
    """Return the checkpoint's tokenizer without any truncation or padding of its own."""
    wrapper = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    backend = getattr(wrapper, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise LoadError("the checkpoint has no tokenizer.json, nor files that one can be made from")
    backend.no_truncation()
    backend.no_padding()
    return backend


def _load_weights(options: LoadOptions, source: Path) -> PreTrainedModel:
    """Run transformers' own loader and refuse what it would quietly make up."""
    quantization: dict[str, Any] = {}
    if options.dtype is Dtype.INT8:
        # Through transformers, so that exactly the linear layers are taken and a tied output embedding stays tied.
        quantization["quantization_config"] = TorchAoConfig(Int8WeightOnlyConfig())
    wanted = stored_dtype(source) if options.dtype is Dtype.INT8 else _TORCH_DTYPES[options.dtype]
    with loadable(source) as path:
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
    own_weights(model)
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
    """Return the bytes of all distinct tensor storages of a model; a tied weight counts once."""
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
