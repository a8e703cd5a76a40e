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
    assert daemon.requests == []
    missing = cli("plan", str(tmp_path / "nothing"))
    assert missing.exit_code == 1
    assert "SOURCE_CORRUPT" in missing.stderr


def test_paths_of_uris() -> None:
    """A file URI is written with one slash or with three."""
    assert path_of("file:/models/a") == path_of("file:///models/a") == Path("/models/a")
