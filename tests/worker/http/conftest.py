"""Workers that speak HTTP, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.models import Checkpoints, checkpoints, minilm
from tests.worker.live import LiveWorker, live_worker

__all__ = ["checkpoints", "minilm"]

CONTEXT = 200


@pytest.fixture(scope="package")
def chatting(checkpoints: Checkpoints) -> Iterator[LiveWorker]:
    """A worker with the small decoder and its chat template."""
    with live_worker(checkpoints.chatting, "GENERATION", context_length=CONTEXT, max_concurrency=4) as live:
        yield live


@pytest.fixture(scope="package")
def embedding(checkpoints: Checkpoints) -> Iterator[LiveWorker]:
    """A worker with the small encoder."""
    with live_worker(checkpoints.encoder, "EMBEDDING", max_concurrency=4) as live:
        yield live


@pytest.fixture
def http(chatting: LiveWorker) -> Iterator[httpx2.Client]:
    """A client of the decoder's worker."""
    with chatting.http() as client:
        yield client
