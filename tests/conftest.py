"""Options shared by all tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--rewrite``: write what the core does into the transcripts instead of comparing."""
    parser.addoption("--rewrite", action="store_true", help="rewrite the transcripts of the core")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether transcripts shall be rewritten."""
    return bool(request.config.getoption("--rewrite"))
