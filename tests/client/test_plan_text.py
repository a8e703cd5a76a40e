"""Plans as people read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echoplane.cli.plan_text import plan_text
from echoplane.cli.text import gibibytes
from echoplane.v1 import plans_pb2

GIB = 1024**3


def plan(**fields: Any) -> plans_pb2.Plan:
    """Return a plan of a split decoder that does not fit."""
    parts = [
        {"name": "weights", "bytes": 8 * GIB, "upper_bytes": 8 * GIB, "formula": "parameters*e"},
        {"name": "state_cache", "bytes": 8 * 1024**2, "formula": "a" * 100},
    ]
    base: dict[str, Any] = {
        "dtype": "DTYPE_BF16",
        "parameter_count": 8_030_261_248,
        "context_length": 131_072,
        "max_concurrency": 8,
        "replicas": 1,
        "bytes": 20 * GIB,
        "upper_bytes": 24 * GIB,
        "kv_bytes_per_token": 65_536,
        "components": parts,
        "ranks": [{"bytes": 20 * GIB, "upper_bytes": 24 * GIB}] * 2,
        "devices": [{"device_id": "cuda:0", "free_bytes": 16 * GIB, "needed_bytes": 24 * GIB}],
        "serves": True,
    }
    return plans_pb2.Plan(**(base | fields))


def test_what_people_look_for_comes_first() -> None:
    """Weights, cache, total and verdict are the first lines, in GiB, per rank where it is split; long formulas are left out."""
    lines = plan_text(plan()).splitlines()
    assert lines[0] == "weights  8.00 GiB per rank x 2 (8,589,934,592 bytes), BF16"
    assert lines[1] == "cache    65,536 bytes a token and 1.0 MiB of states a sequence"
    assert lines[2] == "total    20.00 GiB per rank x 2, at most 24.00 GiB, for 8 sequences of 131,072 tokens"
    assert lines[3] == "verdict  does not fit: 24.00 GiB for one rank, 16.00 GiB free on the freest device"
    assert "aaa" not in plan_text(plan())
    assert "aaa" in plan_text(plan(), explain=True)


def test_verdicts() -> None:
    """What fits says where; what does not, how much would; what is refused, why; what keeps nothing, so."""
    fits = plan_text(plan(fits=True, device_ids=["cuda:0", "cuda:1"]))
    assert "verdict  fits on cuda:0, cuda:1" in fits
    short = plan_text(plan(fitting_context_length=4096, fitting_max_concurrency=0))
    assert "; what would: 4,096 tokens with 8 at once" in short
    refused = plan_text(plan(serves=False, serves_reason="SOURCE_UNSUPPORTED", serves_detail="x (`--engine vllm`)"))
    assert "serves   no: SOURCE_UNSUPPORTED: x (`--engine vllm`)" in refused
    many = [{"device_id": "cuda:0", "free_bytes": 30 * GIB, "needed_bytes": 24 * GIB}]
    assert "2 places of 24.00 GiB are not there" in plan_text(plan(devices=many))
    assert "cache    none" in plan_text(plan(kv_bytes_per_token=0, components=[]))


def test_alternatives_say_what_to_ask_for() -> None:
    """A split is named by its option, with how often its size counts."""
    other = {"action": "split", "dtype": "DTYPE_BF16", "tensor_parallel": 4, "upper_bytes": 12 * GIB, "device_id": "d"}
    text = plan_text(plan(alternatives=[other]))
    assert "tensor_parallel=4" in text
    assert "12.00 GiB per rank x 4" in text


def test_sizes_under_each_other_have_one_unit() -> None:
    """Every size is in GiB, with as many digits as its number needs."""
    assert [gibibytes(count) for count in (0, 1024, 90_852_864, 3 * GIB // 2, 512 * GIB, 2048 * GIB)] == [
        "0 GiB",
        "< 0.001 GiB",
        "0.0846 GiB",
        "1.50 GiB",
        "512.0 GiB",
        "2,048 GiB",
    ]


def test_a_machine_that_is_not_here(daemon: Any, cli: Any, tmp_path: Path) -> None:
    """`--device` plans for a card by name, `--fit` adds a line a split, and neither asks the daemon."""
    pytest.importorskip("echoplaned._allocator", reason="the native allocator is not built")
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4}
    rest = {"intermediate_size": 512, "vocab_size": 1000, "max_position_embeddings": 512, "torch_dtype": "bfloat16"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **shape, **rest}), encoding="utf-8")
    result = cli("plan", str(path), "--engine", "vllm", "--device", "l4:4", "--fit")
    assert result.exit_code == 0, result.output
    assert "cuda:3" in result.stdout
    assert "REPLICAS" in result.stdout
    parsed = json.loads(cli("plan", str(path), "--engine", "vllm", "--device", "l4:4", "--fit", "-o", "json").stdout)
    assert [(one["ranks"], one["replicas"]) for one in parsed["fit"]] == [(1, 4), (2, 2), (4, 1)]
    assert [one["device_id"] for one in parsed["devices"]] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    unknown = cli("plan", str(path), "--device", "voodoo2:2")
    assert unknown.exit_code == 1
    assert "h100-80g" in unknown.stderr
    asked = cli("plan", str(path), "--device", "l4", "--daemon")
    assert asked.exit_code == 1
    assert "worked out here" in asked.stderr
    assert daemon.requests == []
