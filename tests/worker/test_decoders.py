"""Decoders of every served family with random weights, against transformers' own generation from the same files."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import transformers
from torchao.quantization import Int8WeightOnlyConfig
from transformers import PreTrainedModel, TorchAoConfig

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.errors import DtypeUnsupportedError
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import inspect_checkpoint, size_model
from echoplaned.testing.checkpoints import make_decoder
from echoplaned.worker.generating import GenerationRun
from echoplaned.worker.loading import LoadedModel, load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Outcome, Sampling, Token, TokenSequence
from tests.worker.live import live_worker, rows

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings(
        "ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]

TOKENS: Final = 10
SHARED: Final = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
# Windows are shorter than the longest prompt, so that they are in force from the first step on.
FAMILIES: Final[dict[str, dict[str, Any]]] = {
    "LlamaForCausalLM": {},
    "Qwen3ForCausalLM": {"head_dim": 32, "tie_word_embeddings": True},
    "Gemma2ForCausalLM": {"head_dim": 32, "sliding_window": 6, "query_pre_attn_scalar": 32},
    "MixtralForCausalLM": {"num_local_experts": 4, "num_experts_per_tok": 2},
}
PROMPTS: Final = ([5, 70, 301, 44, 9, 12, 250, 7, 3, 88], [300, 8, 17], [11, 12, 13, 14, 200])
TORCH_DTYPES: Final = {Dtype.FP32: torch.float32, Dtype.BF16: torch.bfloat16}
HELD: Final = {"weights", "quantisation_zero_points", "buffers"}


@dataclass(frozen=True)
class Generated:
    """Tokens of one row, and their log-probabilities."""

    token_ids: list[int]
    logprobs: list[float]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Checkpoints as transformers writes them, each made at its first use."""
    root = tmp_path_factory.mktemp("decoders")

    def source(architecture: str) -> Path:
        out = root / architecture
        if not out.exists():
            model_class = getattr(transformers, architecture)
            config = model_class.config_class(**SHARED, **FAMILIES[architecture])
            torch.manual_seed(7)
            make_decoder(out)  # for its tokenizer
            model_class(config).save_pretrained(out)
        return out

    return source


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums are those of one thread, as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def options(source: Path, dtype: Dtype) -> LoadOptions:
    """Return what a worker is told to load."""
    return LoadOptions(InstanceKey.parse("m/v#0"), 1, source, Task.GENERATION, dtype, 64, 4)


def served(loaded: LoadedModel, prompts: list[list[int]], lengths: list[int]) -> list[Generated]:
    """Generate as a worker does: rows in one cohort, each leaving when it has its tokens."""
    got: list[list[Outcome]] = [[] for _ in prompts]
    limits = zip(prompts, lengths, got, strict=True)
    run = GenerationRun(loaded, [TokenSequence(list(row), Sampling(count), told.append) for row, count, told in limits])
    while not run.done:
        for sequence, outcome in run.step():
            sequence.deliver(outcome)
    tokens = [[outcome for outcome in row if isinstance(outcome, Token)] for row in got]
    return [Generated([token.token_id for token in row], [token.logprob for token in row]) for row in tokens]


def reference(source: Path, dtype: Dtype) -> PreTrainedModel:
    """Load with transformers alone."""
    more: dict[str, Any] = {}
    if dtype is Dtype.INT8:
        more["quantization_config"] = TorchAoConfig(Int8WeightOnlyConfig())
    wanted = TORCH_DTYPES.get(dtype, torch.float32)
    model: PreTrainedModel = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=wanted, **more)
    return model.eval()


def generated(model: PreTrainedModel, prompts: list[list[int]]) -> list[Generated]:
    """Generate greedily with transformers' own loop, the padding before the prompts."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    chosen = made.sequences[:, longest:]
    logprobs = torch.log_softmax(torch.stack(made.logits, dim=1).float(), dim=-1)
    values = logprobs.gather(2, chosen.unsqueeze(-1)).squeeze(-1)
    return [Generated(*row) for row in zip(chosen.tolist(), values.tolist(), strict=True)]


CASES: Final = [
    (architecture, dtype)
    for architecture in FAMILIES
    for dtype in (Dtype.FP32, Dtype.BF16, Dtype.INT8)
    if (architecture, dtype) != ("MixtralForCausalLM", Dtype.INT8)
]


@pytest.mark.parametrize(("architecture", "dtype"), CASES)
def test_a_decoder_generates_what_transformers_does(
    sources: Callable[[str], Path], architecture: str, dtype: Dtype
) -> None:
    """Alone and in a padded cohort: the same tokens with the same log-probabilities; and the weights are as large as planned."""
    source = sources(architecture)
    loaded, model = load_model(options(source, dtype)), reference(source, dtype)
    sized = size_model(inspect_checkpoint(source), ShapeRequest(dtype=dtype, context_length=64, max_concurrency=4))
    assert loaded.storage_bytes == sum(part.bytes for part in sized.components if part.name in HELD)
    prompts = [list(prompt) for prompt in PROMPTS]
    for batch in ([prompts[0]], [prompts[1]], prompts):
        for ours, theirs in zip(served(loaded, batch, [TOKENS] * len(batch)), generated(model, batch), strict=True):
            assert ours.token_ids == theirs.token_ids
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_rows_that_leave_change_nothing_for_those_that_stay(sources: Callable[[str], Path], architecture: str) -> None:
    """Whatever its cache, full, sliding or both, a row goes on alone as it did in company."""
    loaded = load_model(options(sources(architecture), Dtype.FP32))
    prompts = [list(prompt) for prompt in PROMPTS]
    together = served(loaded, prompts, [2, TOKENS, 5])
    for row, made in zip(prompts, together, strict=True):
        (alone,) = served(loaded, [row], [len(made.token_ids)])
        assert made.token_ids == alone.token_ids
        assert made.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_int8_of_experts_is_refused(sources: Callable[[str], Path]) -> None:
    """Experts stay as they are, so most of a mixture would: the plan says so instead of loading it."""
    checkpoint = inspect_checkpoint(sources("MixtralForCausalLM"))
    with pytest.raises(DtypeUnsupportedError, match="less than half"):
        size_model(checkpoint, ShapeRequest(dtype=Dtype.INT8, context_length=64, max_concurrency=4))


def test_experts_leave_no_file_mapped(sources: Callable[[str], Path]) -> None:
    """What is put together has memory of its own, and nothing keeps the file's copy beside it."""
    source = sources("MixtralForCausalLM")
    gc.collect()
    loaded = load_model(options(source, Dtype.FP32))
    assert loaded.storage_bytes > 0
    assert str(source / "model.safetensors") not in Path("/proc/self/maps").read_text(encoding="utf-8")


def padded_request(batch: list[list[int]]) -> oip.ModelInferRequest:
    """Return a typed request of token ids, those of shorter rows masked."""
    longest = max(map(len, batch))
    message = oip.ModelInferRequest(model_name="m")
    message.parameters["max_tokens"].int64_param = TOKENS
    for name, values in (
        ("input_ids", [[0] * (longest - len(row)) + row for row in batch]),
        ("attention_mask", [[0] * (longest - len(row)) + [1] * len(row) for row in batch]),
    ):
        tensor = message.inputs.add(name=name, datatype="INT64", shape=[len(batch), longest])
        tensor.contents.int64_contents.extend(value for row in values for value in row)
    return message


@pytest.mark.parametrize(
    "architecture",
    [
        "MixtralForCausalLM",
        pytest.param("Qwen3ForCausalLM", marks=pytest.mark.soak),
        pytest.param("Gemma2ForCausalLM", marks=pytest.mark.soak),
    ],
)
def test_a_worker_process_serves_it(sources: Callable[[str], Path], architecture: str) -> None:
    """Over its API, alone and in a padded batch, a worker answers with transformers' tokens and log-probabilities."""
    source = sources(architecture)
    model, prompts = reference(source, Dtype.BF16), [list(prompt) for prompt in PROMPTS]
    with live_worker(source, "GENERATION", dtype="DTYPE_BF16") as worker:
        for batch in ([prompts[0]], prompts):
            answer = worker.oip.ModelInfer(padded_request(batch))
            for ids, logprobs, theirs in zip(
                rows(answer, "token_ids"), rows(answer, "logprobs"), generated(model, batch), strict=True
            ):
                assert list(ids) == theirs.token_ids
                assert list(logprobs) == pytest.approx(theirs.logprobs, abs=1e-4)
