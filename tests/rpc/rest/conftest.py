"""The REST services under test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .rest_world import RestWorld, rest_world


@pytest.fixture
async def rest() -> AsyncIterator[RestWorld]:
    """Yield a daemon with its REST services."""
    async with rest_world() as found:
        yield found
