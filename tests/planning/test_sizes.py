"""Parameter counts and bytes against published and measured figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from echoplaned.core.errors import DtypeUnsupportedError, FieldInvalidError
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import SizedModel, inspect_checkpoint, inspect_config, size_model


@dataclass(frozen=True)
class Published:
    """A model's sizes as its authors and the table of the allocator's design give them."""

    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    parameters: int
    kv_bytes_per_token: int

    def config(self) -> dict[str, object]:
        """Return the fields of its ``config.json``."""
        if self.architecture == "GPT2LMHeadModel":
            return {
                "architectures": [self.architecture],
                "torch_dtype": "bfloat16",
                "n_layer": self.layers,
                "n_embd": self.hidden,
                "n_head": self.heads,
                "vocab_size": self.vocabulary,
                "n_positions": 1024,
            }
        return {
            "architectures": [self.architecture],
            "torch_dtype": "bfloat16",
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 4096,
        }


LLAMA = "LlamaForCausalLM"
PUBLISHED = {
    "Llama-2-7B": Published(LLAMA, 32, 4096, 32, 32, 11008, 32000, 6_738_415_616, 524_288),
    "Llama-2-13B": Published(LLAMA, 40, 5120, 40, 40, 13824, 32000, 13_015_864_320, 819_200),
    "Llama-2-70B": Published(LLAMA, 80, 8192, 64, 8, 28672, 32000, 68_976_648_192, 327_680),
    "Llama-3.1-8B": Published(LLAMA, 32, 4096, 32, 8, 14336, 128_256, 8_030_261_248, 131_072),
    "Mistral-7B": Published("MistralForCausalLM", 32, 4096, 32, 8, 14336, 32000, 7_241_732_096, 131_072),
    "Qwen2.5-7B": Published("Qwen2ForCausalLM", 28, 3584, 28, 4, 18944, 152_064, 7_615_616_512, 57_344),
    "GPT-2": Published("GPT2LMHeadModel", 12, 768, 12, 12, 3072, 50257, 124_439_808, 36_864),
}


def component(sized: SizedModel, name: str) -> int:
    """Return one component's bytes; 0 where it is not there."""
    return sum(part.bytes for part in sized.components if part.name == name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_cache_follow_from_the_config_alone(name: str, write_config: Callable[..., Path]) -> None:
    """Parameters and KV bytes a token are exact for every published model of the supported families."""
    model = PUBLISHED[name]
    checkpoint = inspect_config(write_config(**model.config()))
    sized = size_model(checkpoint, ShapeRequest(context_length=10, max_concurrency=3))
    assert (checkpoint.facts.parameter_count, checkpoint.has_weights) == (model.parameters, False)
    assert checkpoint.facts.task is Task.GENERATION
    assert component(sized, "kv_cache") == model.kv_bytes_per_token * 30
    assert component(sized, "weights") == 2 * model.parameters
    assert any("estimate" in warning for warning in sized.warnings)


@pytest.mark.parametrize(
    ("name", "size_class"),
    [("GPT-2", "small"), ("Llama-2-7B", "small"), ("Llama-2-13B", "medium"), ("Llama-2-70B", "large")],
)
def test_the_size_class_follows_from_the_count(name: str, size_class: str, write_config: Callable[..., Path]) -> None:
    """Classes are decided by counted parameters."""
    assert inspect_config(write_config(**PUBLISHED[name].config())).facts.size_class == size_class


def test_int8_is_what_the_engine_makes_of_llama(write_config: Callable[..., Path]) -> None:
    """Only the layers' matrices become one byte a weight, with one scale a row; the output embedding stays."""
    sized = size_model(
        write_config(**PUBLISHED["Llama-3.1-8B"].config()), ShapeRequest(dtype=Dtype.INT8, context_length=64)
    )
    assert component(sized, "weights") == 9_086_705_664
    assert sized.quantised_share == pytest.approx(0.869, abs=0.001)


def test_int8_is_refused_where_it_would_do_nothing(write_config: Callable[..., Path]) -> None:
    """GPT-2's matrices are Conv1D, which the engine does not quantise."""
    with pytest.raises(DtypeUnsupportedError, match="less than half"):
        size_model(write_config(**PUBLISHED["GPT-2"].config()), ShapeRequest(dtype=Dtype.INT8))


def test_minilm_by_component(minilm: Path) -> None:
    """The tensors of the packaged model add up to what torch holds: unique storages of 90,861,056 and 58,673,792 bytes."""
    checkpoint = inspect_checkpoint(minilm)
    assert checkpoint.facts.parameter_count == 22_713_216
    kept = ("weights", "quantisation_zero_points", "buffers")
    full = size_model(checkpoint)
    assert (full.shape.dtype, full.shape.context_length, full.shape.max_concurrency) == (Dtype.FP32, 256, 8)
    assert sum(component(full, name) for name in kept) == 90_861_056
    quantised = size_model(checkpoint, ShapeRequest(dtype=Dtype.INT8))
    assert sum(component(quantised, name) for name in kept) == 58_673_792
    assert quantised.quantised_share == pytest.approx(0.474, abs=0.001)


def test_every_component_can_be_checked_by_a_person(minilm: Path) -> None:
    """Components add up, and each has its formula and its source."""
    for dtype in Dtype:
        sized = size_model(minilm, ShapeRequest(dtype=dtype))
        assert sum(part.bytes for part in sized.components) == sized.bytes <= sized.upper_bytes
        assert all(part.formula and part.source for part in sized.components)


@pytest.mark.parametrize(
    ("context_length", "max_concurrency", "engine", "field"),
    [
        (513, 1, "torch", "context_length"),
        (0, 1, "torch", "context_length"),
        (-1, 1, "torch", "context_length"),
        (1, 0, "torch", "max_concurrency"),
        (1, 10**9, "torch", "max_concurrency"),
        (1, 1, "abacus", "engine"),
    ],
)
def test_requests_out_of_range(
    minilm: Path, context_length: int, max_concurrency: int, engine: str, field: str
) -> None:
    """What cannot be served is a field's fault, and the error names the field."""
    with pytest.raises(FieldInvalidError) as caught:
        size_model(minilm, ShapeRequest(context_length=context_length, max_concurrency=max_concurrency, engine=engine))
    assert caught.value.failure.violations[0].field == field
