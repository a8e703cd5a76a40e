"""Counts against the engine's own classes, built without memory on torch's meta device from configs drawn at test time."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from echoplaned import _allocator
from echoplaned.planning import inspect_config
from tests.planning.drawn import DRAWS, TOKENS
from tests.planning.drawn_wrappers import WRAPPERS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

COUNT = int(os.environ.get("ECHOPLANE_ORACLE_CONFIGS", "3"))
"""Configs of each architecture; 30 for a thorough run."""

pytestmark = [
    # The libraries' own sources warn while they are compiled.
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
ALL = {**DRAWS, **WRAPPERS}
SERVED = [name for name, served in _allocator.architectures() if served]


def test_every_architecture_is_compared() -> None:
    """There is a draw for every row of the catalogue, and at least 90 rows."""
    assert {name for name, _ in _allocator.architectures()} == set(ALL)
    assert len(ALL) >= 90


@pytest.mark.parametrize("architecture", sorted(ALL))
def test_counts_are_the_engines_own(architecture: str, record_property: Callable[[str, object], None]) -> None:
    """Parameters equal those of the class that transformers builds, from a whole config and from what differs from defaults."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    rng = random.Random(seed)
    model_class = getattr(transformers, architecture)
    for number in range(COUNT):
        config = model_class.config_class(**TOKENS, **ALL[architecture](rng))
        with torch.device("meta"):
            model = model_class(config)
        fields = config.to_dict() if number % 2 else config.to_diff_dict()
        text = json.dumps(fields | {"architectures": [architecture]})
        parameters = sum(parameter.numel() for parameter in model.parameters())
        found = _allocator.survey_config(text.encode())
        assert found.parameter_count == parameters, f"seed {seed}: {text}"


@pytest.mark.parametrize("architecture", SERVED)
def test_buffers_are_the_engines_own(architecture: str, tmp_path: Path) -> None:
    """Bytes of buffers of what is served equal those of the class, as they are held beside the parameters."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    model_class = getattr(transformers, architecture)
    for _ in range(COUNT):
        config = model_class.config_class(**TOKENS, **DRAWS[architecture](rng))
        with torch.device("meta"):
            model = model_class(config)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config.to_dict() | {"architectures": [architecture]}))
        buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
        found = inspect_config(path)
        sized = found.native.size(dtype_name="FP32", context_length=1, max_concurrency=1, engine_name="torch")
        assert sum(part.bytes for part in sized.components if part.name == "buffers") == buffers, (
            f"seed {seed}: {config}"
        )
