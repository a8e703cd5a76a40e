"""How many replicas a machine of equal devices holds, split in every way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import Checkpoint, devices_of, fit_fleet, inspect_config, size_model

LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


def checkpoint(folder: Path, **fields: object) -> Checkpoint:
    """Return a checkpoint of a config alone."""
    path = folder / "config.json"
    path.write_text(json.dumps({**LLAMA_8B, **fields}), encoding="utf-8")
    return inspect_config(path)


def test_a_split_for_each_power_of_two(tmp_path: Path) -> None:
    """Eight devices hold eight whole models or one over eight; what a row promises fits, and one step more does not."""
    model, devices = checkpoint(tmp_path), devices_of("a100-40g:8")
    options = fit_fleet(model, devices, ShapeRequest(engine="vllm", max_concurrency=4))
    assert [(one.ranks, one.replicas) for one in options] == [(1, 8), (2, 4), (4, 2), (8, 1)]
    free = devices[0].capacity_bytes - devices[0].reserve_bytes
    for one in options:
        named = () if one.ranks == 1 else (("tensor_parallel", str(one.ranks)),)
        for context, fits in ((one.context_length, True), (one.context_length + 1024, False)):
            if context <= LLAMA_8B["max_position_embeddings"]:
                shape = ShapeRequest(engine="vllm", max_concurrency=4, context_length=context, options=named)
                assert (size_model(model, shape).upper_bytes <= free) is fits
    assert options[0].context_length < options[1].context_length
    assert options[1].weights_bytes < options[0].weights_bytes


def test_stages_take_devices_too(tmp_path: Path) -> None:
    """An instance of two stages takes two devices for each split: four devices hold two, and not four; one device holds none."""
    model, stages = checkpoint(tmp_path), (("pipeline_parallel", "2"),)
    shape = ShapeRequest(engine="vllm", max_concurrency=4, options=stages)
    options = fit_fleet(model, devices_of("a100-40g:4"), shape)
    assert [(one.ranks, one.replicas) for one in options] == [(2, 2), (4, 1)]
    (lone,) = fit_fleet(model, devices_of("a100-40g"), shape)
    assert (lone.ranks, lone.replicas) == (2, 0)


def test_what_an_engine_does_not_split(tmp_path: Path) -> None:
    """The embedded engine serves on one device; a split that leaves heads over is named with its reason, and no other is lost."""
    model, devices = checkpoint(tmp_path), devices_of("80GiB:4")
    assert [one.ranks for one in fit_fleet(model, devices, ShapeRequest())] == [1]
    odd = checkpoint(tmp_path, num_attention_heads=14, num_key_value_heads=2, hidden_size=896, intermediate_size=4864)
    whole, two, four = fit_fleet(odd, devices, ShapeRequest(engine="vllm"))
    assert (whole.replicas, two.replicas, four.replicas) == (4, 2, 0)
    assert "attention heads" in four.refusal


def test_one_that_fits_nowhere(tmp_path: Path) -> None:
    """A model that is larger than a device has no replica there; what cannot be sized at all is an error."""
    model = checkpoint(tmp_path)
    (option,) = fit_fleet(model, devices_of("8GiB"), ShapeRequest(engine="vllm"))
    assert (option.replicas, option.context_length, option.full_context_concurrency) == (0, 0, 0)
    with pytest.raises(FieldInvalidError):
        fit_fleet(model, devices_of("8GiB"), ShapeRequest(engine="vllm", max_concurrency=0))
