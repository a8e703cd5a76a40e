"""`echoplane plan` where the daemon's package is installed beside the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echoplane.cli.offline import path_of


def test_plan_needs_no_daemon_where_the_planner_is_installed(daemon: Any, cli: Any, tmp_path: Path) -> None:
    """A config.json alone is planned here, to the exact parameter count; what cannot be planned says why."""
    pytest.importorskip("echoplaned._allocator", reason="the native allocator is not built")
    pytest.importorskip("echoplaned.rpc.convert.plans", reason="the daemon is not installed")
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    words = {"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "torch_dtype": "float32"}
    config = {"architectures": ["BertModel"], "model_type": "bert", **shape, **words}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    result = cli("plan", str(tmp_path / "config.json"), "--output", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["parameter_count"] == 22_713_216
    assert found["bytes"] == sum(component["bytes"] for component in found["components"])
    assert found["serves"] is True
    assert daemon.requests == []
    (tmp_path / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "a.B"}}), encoding="utf-8")
    refused = cli("plan", str(tmp_path / "config.json"))
    assert refused.exit_code == 1
    assert "no: SOURCE_UNSUPPORTED: config.json: auto_map" in refused.stdout
    assert "serves: no: SOURCE_UNSUPPORTED" in refused.stderr
    missing = cli("plan", str(tmp_path / "nothing"))
    assert missing.exit_code == 1
    assert "SOURCE_NOT_FOUND" in missing.stderr


def test_paths_of_uris() -> None:
    """A file URI is written with one slash or with three."""
    assert path_of("file:/models/a") == path_of("file:///models/a") == Path("/models/a")


def test_several_sources_on_one_page(daemon: Any, cli: Any, tmp_path: Path) -> None:
    """A line a source, another engine's split, an explanation on request; one that cannot be planned is the exit code."""
    pytest.importorskip("echoplaned._allocator", reason="the native allocator is not built")
    pytest.importorskip("echoplaned.rpc.convert.plans", reason="the daemon is not installed")
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4}
    rest = {"intermediate_size": 512, "vocab_size": 1000, "max_position_embeddings": 512, "torch_dtype": "bfloat16"}
    for name in ("Llama", "Qwen3"):
        config = {"architectures": [f"{name}ForCausalLM"], "head_dim": 32, **shape, **rest}
        (tmp_path / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    both = [str(tmp_path / "Llama.json"), str(tmp_path / "Qwen3.json")]
    split = ["--engine", "vllm", "--engine-option", "tensor_parallel=2", "--engine-option", "kv_dtype=fp8"]
    result = cli("plan", *both, *split, "--explain")
    assert result.exit_code == 0, result.output
    assert "Qwen3ForCausalLM" in result.stdout
    assert "sequences*pages*page_bytes" in result.stdout
    assert "rank" in result.stdout
    parsed = json.loads(cli("plan", *both, *split, "--output", "json").stdout)
    assert [one["plan"]["kv_bytes_per_token"] for one in parsed] == [4 * 2 * 2 * 32] * 2
    assert len(parsed[0]["plan"]["ranks"]) == 2
    mixed = cli("plan", both[0], str(tmp_path / "nothing"))
    assert mixed.exit_code == 1
    assert "LlamaForCausalLM" in mixed.stdout
    assert "SOURCE_NOT_FOUND" in mixed.stderr
    wrong = cli("plan", both[0], "--engine", "vllm", "--engine-option", "tensor_parallel=x")
    assert wrong.exit_code == 1
    assert "whole number" in wrong.stderr
    assert daemon.requests == []
