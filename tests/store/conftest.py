"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from echoplaned.store import SqlStore
from tests.store import story


@pytest.fixture(scope="session", name="story")
def story_module() -> ModuleType:
    """Return the module ``story.py``, which is a program as well."""
    return story


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return a state directory that is not there yet."""
    return tmp_path / "state"


@pytest.fixture
def store(state_dir: Path) -> Iterator[SqlStore]:
    """Return an empty store."""
    opened = SqlStore.open(state_dir)
    yield opened
    opened.close()
