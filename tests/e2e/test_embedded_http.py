"""OpenAI's API from the real Envoy to the embedded engine's own socket, beside native gRPC callers, across an update."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from echoplane import Client
from echoplane.v1 import diagnostics_pb2, models_pb2, rollouts_pb2
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess
from tests.e2e import e2e_system as e
from tests.xds import xds_envoy

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

MODEL = "talk"
ECHO = rollouts_pb2.EchoPolicy(enabled=False)
"""What the versions say is judged elsewhere; here it would only take the engines' time."""


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """Run a daemon with a checkpoint that chats, in a folder whose path leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        checkpoints.add_chat_template(checkpoints.make_decoder(root / "plain"), root / "chatting")
        process = DaemonProcess(root / "state", (root,))
        try:
            process.start(300.0)
            yield process
        finally:
            process.clean()


def ask(url: str, path: str, body: dict[str, object]) -> tuple[int, str, dict[str, object]]:
    """Ask through the gateway; return the status, the version and the answer."""
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)) as connection:
        headers = {"echoplane-model": MODEL, "content-type": "application/json"}
        connection.request("POST", path, json.dumps({"model": MODEL, **body}), headers)
        answer = connection.getresponse()
        told = answer.read()
        parsed = json.loads(told) if answer.status == 200 else {"error": told.decode()}
        return answer.status, answer.getheader("x-model-version", ""), parsed


def chat(url: str) -> tuple[int, str]:
    """Chat; return the status and the version."""
    body: dict[str, object] = {"max_tokens": 3, "messages": [{"role": "user", "content": "The river"}]}
    return ask(url, "/v1/chat/completions", body)[:2]


@contextlib.asynccontextmanager
async def again_and_again(call: Callable[[], tuple[int, str]]) -> AsyncIterator[Counter[tuple[int, str]]]:
    """Make a call every few milliseconds meanwhile; count what came."""
    found: Counter[tuple[int, str]] = Counter()
    stop = asyncio.Event()

    async def run() -> None:
        while not stop.is_set():
            found[await asyncio.to_thread(call)] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.05)

    task = asyncio.create_task(run())
    try:
        yield found
    finally:
        stop.set()
        await task


def load(client: Client, version: str) -> None:
    """Load the model for the first time."""
    request = models_pb2.LoadModelRequest(
        model_id=MODEL,
        version_id=version,
        source_uri="file:chatting",
        context_length=64,
    )
    client.wait(client.load_model(request), e.LOAD_S)


def update(client: Client) -> rollouts_pb2.Rollout:
    """Update to a longer context, and return the rollout once it is over."""
    policy = e.fast_policy(stages_percent=(50, 100), probe_count=3, stage_max_s=240, echo=ECHO)
    request = models_pb2.UpdateModelRequest(
        model_id=MODEL, version_id="v2", source_uri="file:chatting", context_length=96, policy=policy
    )
    client.wait(client.update_model(request), 400.0)
    return client.get_rollout(next(iter(client.list_rollouts(MODEL))).name)


async def counted(client: Client, version: str, at_least: int) -> int:
    """Return how many requests of a version the load reports tell, once there are so many."""
    for _ in range(60):
        metrics = await asyncio.to_thread(client.get_metrics, MODEL)
        counts = [
            requests.ok_count
            for each in metrics.versions
            if each.version.rpartition("/")[2] == version
            for requests in each.requests
            if requests.source == diagnostics_pb2.COUNT_SOURCE_LRS
        ]
        if sum(counts) >= at_least:
            break
        await asyncio.sleep(0.5)
    return sum(counts)


async def test_chat_goes_through_envoy_to_the_embedded_engine(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Chat is answered at the worker's socket and counted once; an update under requests fails none of them."""
    with Client(daemon.address) as client:
        await asyncio.to_thread(load, client, "v1")
        async with xds_envoy.envoy(tmp_path, daemon.address) as envoy:
            async with asyncio.timeout(60.0):
                await envoy.channel.channel_ready()
            async with again_and_again(lambda: chat(envoy.url)) as first:
                assert await counted(client, "v1", 5) >= 5
            told = await counted(client, "v1", first[(200, "v1")])
            # Envoy begins to count with its first report: what came before is missing, nothing is there twice.
            assert 5 <= told <= first.total()
            async with again_and_again(lambda: chat(envoy.url)) as found:
                rollout = await asyncio.to_thread(update, client)
            assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED, rollout
            assert {status for status, _ in found} == {200}, found
            assert {version for _, version in found} == {"v1", "v2"}, found
            assert chat(envoy.url) == (200, "v2")
        assert "rejected" not in envoy.log.read_text()
        client.wait(client.delete_model(MODEL, force=True), 60.0)
