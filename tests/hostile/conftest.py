"""The real daemon for the hostile tests, as the end-to-end tests have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import bytecode, made, own_system, start_load, start_system, system  # noqa: F401 - fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and give it the time that a load on a busy machine takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(420))
