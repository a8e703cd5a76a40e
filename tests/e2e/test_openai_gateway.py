"""OpenAI's API from the real Envoy to a real engine's own socket: chat, and an update under requests."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from echoplane import Client
from echoplane.v1 import diagnostics_pb2, models_pb2, rollouts_pb2
from echoplaned.testing.daemon import DaemonProcess
from tests.e2e import e2e_system as e
from tests.engines.llama_parts import model_file, server_file
from tests.xds import xds_envoy

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "chat"
QUESTION = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]

ECHO = rollouts_pb2.EchoPolicy(enabled=False)
"""What the versions say is judged elsewhere; here it would only take the engines' time."""


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """Run a daemon that may start llama-server."""
    server_file()
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        process = DaemonProcess(
            Path(folder).resolve() / "state", (model_file().parent,), ("--engine", f"llama_cpp={sys.prefix}")
        )
        try:
            process.start(300.0)
            yield process
        finally:
            process.clean()


def ask(url: str, max_tokens: int) -> tuple[int, dict[str, object]]:
    """Chat through the gateway; return the status and the answer."""
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)) as connection:
        request = {"model": MODEL, "temperature": 0, "max_tokens": max_tokens, "messages": QUESTION}
        headers = {"echoplane-model": MODEL, "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(request), headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else {"error": body.decode()}


@contextlib.asynccontextmanager
async def asking(url: str) -> AsyncIterator[Counter[int]]:
    """Ask again and again meanwhile; count the statuses."""
    statuses: Counter[int] = Counter()
    stop = asyncio.Event()

    async def run() -> None:
        while not stop.is_set():
            statuses[(await asyncio.to_thread(ask, url, 4))[0]] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.2)

    task = asyncio.create_task(run())
    try:
        yield statuses
    finally:
        stop.set()
        await task


def load(client: Client) -> None:
    """Load the model for the first time."""
    request = models_pb2.LoadModelRequest(
        model_id=MODEL, version_id="v1", source_uri=f"file:{model_file()}", engine="llama_cpp", context_length=256,
        max_concurrency=2,
    )  # fmt: skip
    client.wait(client.load_model(request), e.LOAD_S)


def update(client: Client) -> rollouts_pb2.Rollout:
    """Update to a longer context, and return the rollout once it is over."""
    request = models_pb2.UpdateModelRequest(
        model_id=MODEL, version_id="v2", source_uri=f"file:{model_file()}", engine="llama_cpp", context_length=512,
        max_concurrency=2,
        policy=e.fast_policy(stages_percent=(50, 100), probe_count=3, stage_max_s=240, echo=ECHO),
    )  # fmt: skip
    client.wait(client.update_model(request), 300.0)
    return client.get_rollout(next(iter(client.list_rollouts(MODEL))).name)


async def follow_an_update(client: Client, envoy: xds_envoy.Envoy) -> None:
    """Update under requests, of which none fails, and find those of the new version in the load reports."""
    async with asking(envoy.url) as statuses:
        rollout = await asyncio.to_thread(update, client)
    assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED, rollout
    assert statuses.keys() == {200}, statuses
    assert (await asyncio.to_thread(ask, envoy.url, 4))[0] == 200
    metrics = client.get_metrics(MODEL)
    told = {each.version.rpartition("/")[2]: each.requests for each in metrics.versions}
    assert any(counts.source == diagnostics_pb2.COUNT_SOURCE_LRS and counts.ok_count for counts in told["v2"]), metrics


@pytest.mark.parametrize("updates", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["chat", "update"])
async def test_chat_goes_through_envoy_to_the_engines_own_socket(
    daemon: DaemonProcess, tmp_path: Path, *, updates: bool
) -> None:
    """The engine answers at its socket; an update under requests fails none; load reports of the HTTP/1.1 cluster are counted."""
    with Client(daemon.address) as client:
        await asyncio.to_thread(load, client)
        async with xds_envoy.envoy(tmp_path, daemon.address) as envoy:
            async with asyncio.timeout(60.0):
                await envoy.channel.channel_ready()
            status, answer = await asyncio.to_thread(ask, envoy.url, 24)
            assert status == 200, answer
            assert "Paris" in json.dumps(answer)
            if updates:
                await follow_an_update(client, envoy)
        log = envoy.log.read_text()
        assert "rejected" not in log
        client.wait(client.delete_model(MODEL, force=True), 60.0)
