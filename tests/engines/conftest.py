"""Makes the shared modules of the tests importable, and their fixtures known."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import pytest  # noqa: E402 - as below
from models import checkpoints, minilm  # noqa: E402 - needs the path above

__all__ = ["checkpoints", "minilm"]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A daemon's state directory, without links in its path."""
    return tmp_path.resolve()
