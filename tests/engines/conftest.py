"""Fixtures of the engines' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import checkpoints, minilm

__all__ = ["checkpoints", "minilm"]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A daemon's state directory, without links in its path."""
    return tmp_path.resolve()
