"""OpenAI's API through the real Envoy: HTTP/1.1 clusters by the stages' weights, on ports and on sockets, with load reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.xds.names import ResourceType
from tests.xds import xds_envoy as e
from tests.xds import xds_harness as h
from tests.xds.openai_backend import CHUNKS, OpenAiBackend, openai_backend

pytestmark = pytest.mark.system

TOTAL = 1_000_000
PATH = "/v1/chat/completions"
MODEL = {"echoplane-model": "m"}


@dataclass
class Stage:
    """Two versions with engines behind an Envoy: the first's on a port, the second's on a socket."""

    plane: h.ControlPlane
    envoy: e.Envoy
    engines: tuple[OpenAiBackend, OpenAiBackend]
    oip: tuple[str, str]
    epoch: int = 0

    def routes(self, weight: int, *, dead: str = "") -> ModelRoutes:
        """Make routes: the second version's weight of a million; ``dead``: a version without endpoints."""
        self.epoch += 1
        clusters = [
            ClusterView(
                backend.name,
                share,
                () if backend.name == dead else (RouteEndpoint(address),),
                routed=share > 0,
                openai=() if backend.name == dead else (RouteEndpoint(backend.address),),
            )
            for backend, address, share in zip(self.engines, self.oip, (TOTAL - weight, weight), strict=True)
        ]
        return ModelRoutes("m", self.epoch, tuple(clusters))

    async def shift(self, weight: int, *, dead: str = "") -> None:
        """Publish routes and wait until Envoy has them."""
        self.plane.publisher.publish_model(self.routes(weight, dead=dead))
        await self.plane.observer.until_acknowledged("m", self.epoch)

    async def ask(self, count: int) -> Counter[str]:
        """Call so often; count the versions that answered, or the statuses of what failed."""
        answers: Counter[str] = Counter()
        for _ in range(count):
            status, body = await asyncio.to_thread(self.post)
            answers[json.loads(body)["model"] if status == 200 else str(status)] += 1
        return answers

    def post(self, path: str = PATH, model: str = "m") -> tuple[int, bytes]:
        """Post a request on a connection of its own; return the status and the body."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", path, "{}", {"echoplane-model": model})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def connect(self) -> HTTPConnection:
        """Return a connection to Envoy."""
        return HTTPConnection(self.envoy.url.removeprefix("http://"), timeout=20.0)


@contextlib.asynccontextmanager
async def stage(folder: Path, *, delta: bool = False) -> AsyncIterator[Stage]:
    """Start both versions' servers, the control plane and Envoy, with all weight on the first version."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        # A socket's path is short, a test's folder need not be.
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engines = (await enter(openai_backend("v1")), await enter(openai_backend("v2", sockets / "engine.sock")))
        oip = (await enter(h.backend("v1")), await enter(h.backend("v2")))
        plane = await enter(h.control_plane())
        plane.publisher.open({})
        envoy = await enter(e.envoy(folder, plane.address, delta=delta))
        found = Stage(plane, envoy, engines, oip)
        plane.publisher.publish_model(found.routes(0))
        await plane.observer.until(lambda: "subscribers m 1" in plane.observer.lines)
        await plane.observer.until_acknowledged("m", found.epoch)
        async with asyncio.timeout(20.0):
            await envoy.channel.channel_ready()  # a listener is acknowledged a moment before it listens
        yield found


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_requests_follow_the_weights(tmp_path: Path, delta: bool) -> None:
    """All, half and none of the requests reach the new version, none fails, gRPC goes on beside, and Envoy refuses nothing."""
    async with stage(tmp_path, delta=delta) as found:
        assert await found.ask(20) == {"v1": 20}
        await found.shift(TOTAL // 2)
        half = await found.ask(200)
        assert half.keys() == {"v1", "v2"}
        assert 60 < half["v2"] < 140
        assert {await found.envoy.call("m") for _ in range(40)} == {"v1", "v2"}
        await found.shift(TOTAL)
        assert await found.ask(20) == {"v2": 20}
        await found.shift(0)
        assert await found.ask(20) == {"v1": 20}
        stats = {each.type: each for each in found.plane.publisher.stats.by_type}
        assert all(
            stats[kind].acks > 0 and stats[kind].nacks == 0
            for kind in ResourceType
            if kind is not ResourceType.EXTENSION
        ), stats
    log = found.envoy.log.read_text()
    assert "rejected" not in log


async def test_load_reports_of_both_clusters_count_for_the_version(tmp_path: Path) -> None:
    """What comes by OpenAI's API and by gRPC is one version's traffic, a 500 is its error, and the workers of others get none."""
    async with stage(tmp_path) as found:
        loads = found.plane.observer.loads
        # What is sent before Envoy knows that it shall report is in no report: it drops what it has when it is told.
        async with asyncio.timeout(60.0):
            while not loads["m", "v1"][2]:
                await found.ask(1)
                await found.envoy.call("m")
        before = list(loads["m", "v1"])
        await found.ask(10)
        for _ in range(7):
            await found.envoy.call("m")
        await found.plane.observer.until(lambda: loads["m", "v1"][0] >= before[0] + 17, 10.0)
        found.engines[0].failing = True
        assert await found.ask(4) == {"500": 4}
        await found.plane.observer.until(lambda: loads["m", "v1"][1] >= 4, 10.0)
        assert found.engines[1].calls == 0
        assert loads["m", "v2"] == [0, 0, 0]


async def test_a_stream_comes_chunk_by_chunk(tmp_path: Path) -> None:
    """A chunk arrives before the engine writes the next; the stream outlives the shift of its route, and ends well."""
    async with stage(tmp_path) as found:
        with contextlib.closing(found.connect()) as connection:
            await asyncio.to_thread(connection.request, "POST", PATH, '{"stream": true}', MODEL)
            answer = await asyncio.to_thread(connection.getresponse)
            for index in range(CHUNKS):
                line = await asyncio.to_thread(answer.readline)
                assert json.loads(line.removeprefix(b"data: ")) == {"model": "v1", "index": index}
                assert await asyncio.to_thread(answer.readline) == b"\n"
                if index == 0:
                    await found.shift(TOTAL)
                found.engines[0].gate.release()
            assert await asyncio.to_thread(answer.readline) == b""


async def test_a_version_without_engines_is_unavailable(tmp_path: Path) -> None:
    """While its engines are away a version answers 503, not 404; a path that is not OpenAI's goes to the gRPC servers."""
    async with stage(tmp_path) as found:
        await found.shift(0, dead="v1")
        assert await found.ask(3) == {"503": 3}
        await found.shift(0)
        assert await found.ask(3) == {"v1": 3}
        assert (await asyncio.to_thread(found.post, PATH, "nobody"))[0] == 404
        calls = found.engines[0].calls
        await asyncio.to_thread(found.post, "/metrics")
        assert found.engines[0].calls == calls


async def test_connections_that_an_engine_closed_fail_nobody(tmp_path: Path) -> None:
    """An engine that closes every connection after its answer without a word, as at the end of its idle time, fails no request."""
    async with stage(tmp_path) as found:
        found.engines[0].closes = True
        assert await found.ask(100) == {"v1": 100}
