"""Fixtures of the engines' tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models import checkpoints, minilm

__all__ = ["checkpoints", "minilm"]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A daemon's state directory, without links in its path."""
    return tmp_path.resolve()


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Return a directory with a path that leaves room for the name of a unix socket; its names are those of pytest's own otherwise."""
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        yield Path(folder).resolve()
