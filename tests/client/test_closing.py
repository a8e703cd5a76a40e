"""A client that is closed before, or during, a call: an error of the client's own, and no task looks cancelled that was not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from echoplane import AsyncClient, AsyncInferenceClient, Client, InferenceClient, errors
from echoplane.tensors import Query
from echoplane.v1 import diagnostics_pb2

QUERY = Query(texts=["a"])
METHODS = ("GetStatus", "ListModels", "WatchEvents", "ModelInfer", "ModelReady")


@pytest.fixture
def called(daemon: Any) -> Iterator[threading.Event]:
    """Let calls have no answer until the test is over; set once one came."""
    came, over = threading.Event(), threading.Event()

    def wait(request: Any) -> Any:
        came.set()
        over.wait(10)
        watch = isinstance(request, diagnostics_pb2.WatchEventsRequest)
        return [] if watch else diagnostics_pb2.GetStatusResponse()

    for method in METHODS:
        daemon.on(method, wait)
    yield came
    over.set()


SYNC: list[tuple[type[Any], Callable[[Any], Any]]] = [
    (Client, lambda client: client.get_status()),
    (Client, lambda client: next(client.list_models())),
    (Client, lambda client: next(client.watch_events())),
    (InferenceClient, lambda client: client.infer(QUERY)),
    (InferenceClient, lambda client: client.ready()),
]
AIO: list[tuple[type[Any], Callable[[Any], Any]]] = [
    (AsyncClient, lambda client: client.get_status()),
    (AsyncClient, lambda client: anext(client.list_models())),
    (AsyncClient, lambda client: anext(client.watch_events())),
    (AsyncInferenceClient, lambda client: client.infer(QUERY)),
    (AsyncInferenceClient, lambda client: client.ready()),
]


def make(kind: type[Any], address: str) -> Any:
    """Return a client of the scripted daemon."""
    return kind(address) if kind in {Client, AsyncClient} else kind("m", target=address)


@pytest.mark.parametrize(("kind", "call"), SYNC)
def test_a_closed_client(daemon: Any, called: threading.Event, kind: type[Any], call: Callable[[Any], Any]) -> None:
    """A call that another thread closes the client of, and one that is made afterwards, are cancelled."""
    client = make(kind, daemon.address)
    closing = threading.Thread(target=lambda: (called.wait(10), client.close()))
    closing.start()
    for _ in range(2):
        with pytest.raises(errors.CancelledError, match="closed"):
            call(client)
    closing.join()


@pytest.mark.parametrize(("kind", "call"), AIO)
def test_a_closed_aio_client(daemon: Any, called: threading.Event, kind: type[Any], call: Callable[[Any], Any]) -> None:
    """The same with asyncio, where neither task was cancelled."""

    async def use() -> None:
        client = make(kind, daemon.address)
        task = asyncio.ensure_future(call(client))
        await asyncio.to_thread(called.wait, 10)
        await client.close()
        for waiting in (task, call(client)):
            with pytest.raises(errors.CancelledError, match="closed"):
                await waiting

    asyncio.run(use())


@pytest.mark.parametrize(("kind", "call"), AIO)
def test_a_task_that_is_cancelled(
    daemon: Any, called: threading.Event, kind: type[Any], call: Callable[[Any], Any]
) -> None:
    """Who is cancelled, or runs out of a time of asyncio's, sees what asyncio says."""

    async def use() -> None:
        client = make(kind, daemon.address)
        task = asyncio.ensure_future(call(client))
        await asyncio.to_thread(called.wait, 10)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call(client)
        await client.close()

    asyncio.run(use())
