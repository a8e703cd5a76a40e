"""Options shared by all tests."""

from __future__ import annotations

from typing import Final

import pytest

WAITING: Final = frozenset({"test_crashes.py", "test_grpcurl.py", "test_subscribers.py"})
"""System tests that mostly wait for time to pass: they run beside all others, in a process of their own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--rewrite``: write what the core does into the transcripts instead of comparing."""
    parser.addoption("--rewrite", action="store_true", help="rewrite the transcripts of the core")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what runs beside what (pytest-xdist, ``--dist loadgroup``): two groups, each in one process and in its order."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("waiting" if item.path.name in WAITING else "working"))


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether transcripts shall be rewritten."""
    return bool(request.config.getoption("--rewrite"))
