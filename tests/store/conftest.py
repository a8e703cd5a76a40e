"""Fixtures of the store's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from echoplaned.store import SqlStore

STORY = Path(__file__).with_name("story.py")


@pytest.fixture(scope="session")
def story() -> ModuleType:
    """Return the module ``story.py``, which is a program as well and so lies on no import path."""
    spec = importlib.util.spec_from_file_location("echoplane_store_story", STORY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
