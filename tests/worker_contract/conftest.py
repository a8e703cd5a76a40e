"""What the tests of the contract share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A daemon's state directory, without links in its path."""
    return tmp_path.resolve()
