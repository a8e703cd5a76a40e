"""gRPC's own xDS client, in processes of its own, against the real server and real backends."""

from __future__ import annotations

import asyncio
import contextlib
import math

import pytest

from echoplaned.xds import snapshot
from echoplaned.xds.names import ResourceType
from tests.xds import xds_harness as h

STAGES = (50_000, 150_000, 300_000, 500_000, 750_000, 900_000, 999_999)
TOTAL = 1_000_000
FAILED = "INTERNAL: made to fail"
"""A client's answer of a call that its backend was made to fail."""


@pytest.mark.long
async def test_seven_stages_without_a_failed_request() -> None:
    """A client is led from v1 to v2 through seven stages: shares follow the weights, no request fails, load comes back."""
    async with h.backend("v1") as v1, h.backend("v2") as v2, h.control_plane() as plane:
        plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, [v1]))})
        async with h.client(plane.address, "xds:///models/m") as client:
            assert await client.count(20) == {"v1": 20}
            answered = {"v1": 20, "v2": 0}
            for epoch, weight in enumerate((1, *STAGES), start=2):
                plane.publisher.publish_model(h.routes("m", epoch, v1=(TOTAL - weight, [v1]), v2=(weight, [v2])))
                await plane.observer.until_acknowledged("m", epoch)
                counts = await client.count(600)
                assert counts.keys() <= {"v1", "v2"}, counts
                share, sigma = weight / TOTAL, math.sqrt(weight / TOTAL * (1 - weight / TOTAL) / 600)
                assert abs(counts.get("v2", 0) / 600 - share) <= 4 * sigma + 0.002
                for name, count in counts.items():
                    answered[name] += count
            plane.publisher.publish_model(h.routes("m", 20, v2=(TOTAL, [v2])))
            await plane.observer.until_acknowledged("m", 20)
            counts = await client.count(100)
            assert counts == {"v2": 100}
            answered["v2"] += 100
            await plane.observer.until(
                lambda: all(plane.observer.loads["m", name][0] == count for name, count in answered.items())
            )
            assert plane.observer.loads["m", "v1"][1] == 0
        await plane.observer.until(lambda: "subscribers m 0" in plane.observer.lines)
    assert not [line for line in plane.observer.lines if line.startswith(("nack", "refused"))]


async def test_load_reports_come_on_the_connection_of_the_routes() -> None:
    """That is how a subscriber and a reporter are known to be one client: two processes under one id are told apart."""
    async with h.backend("v1") as v1, h.control_plane() as plane:
        plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, [v1]))})
        async with (
            h.client(plane.address, "xds:///models/m", "a") as one,
            h.client(plane.address, "xds:///models/m", "a") as two,
        ):
            assert await one.count(3) == await two.count(3) == {"v1": 3}
            await plane.observer.until(lambda: len(plane.observer.reporters) == 2)
            assert plane.publisher.route_only_clients("m") == plane.observer.reporters
            assert {caller.node for caller in plane.observer.reporters} == {"a"}


@pytest.mark.long
async def test_no_request_fails_while_weights_move_and_the_server_restarts() -> None:
    """Two clients call without a pause through stages, a dead control plane and its return: nothing fails."""
    async with h.backend("v1") as v1, h.backend("v2") as v2, contextlib.AsyncExitStack() as clients:
        async with h.control_plane() as plane:
            address = plane.address
            plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, [v1]))})
            running = [
                await clients.enter_async_context(h.client(address, "xds:///models/m", node)) for node in ("a", "b")
            ]
            for each in running:
                assert await each.count(1) == {"v1": 1}
                await each.start()
            during: list[dict[str, int]] = []
            for epoch, weight in enumerate((1, *STAGES), start=2):
                plane.publisher.publish_model(h.routes("m", epoch, v1=(TOTAL - weight, [v1]), v2=(weight, [v2])))
                await plane.observer.until_acknowledged("m", epoch)
                assert f"acknowledged m e{epoch} 2/2" in plane.observer.lines
                during += [await each.count(20) for each in running]
        # The server is gone. The clients go on with what they have.
        apart = [await each.count(100) for each in running]
        async with h.control_plane(address) as plane:
            # It is back on its port, but not open: streams wait, nobody is told that there is nothing.
            closed = [await each.count(100) for each in running]
            assert plane.publisher.stats.streams_open == 0
            plane.publisher.open({"m": h.routes("m", 20, v2=(TOTAL, [v2]))})
            await plane.observer.until(lambda: "subscribers m 2" in plane.observer.lines, 60.0)
            plane.publisher.publish_model(h.routes("m", 21, v1=(1, [v1]), v2=(TOTAL - 1, [v2])))
            await plane.observer.until_acknowledged("m", 21)
            done = [await each.stop() for each in running]
    for counts in (*during, *apart, *closed, *done):
        assert counts.keys() <= {"v1", "v2"}, counts
    assert sum(sum(counts.values()) for counts in (*during, *apart, *closed, *done)) > 720


async def test_a_dead_version_costs_its_share_only_until_the_weight_is_back() -> None:
    """Errors of one version are reported as its own; after the acknowledged way back nothing fails."""
    async with h.backend("v1") as v1, h.backend("v2", error_every=2) as v2, h.control_plane() as plane:
        plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL // 2, [v1]), v2=(TOTAL // 2, [v2]))})
        async with h.client(plane.address, "xds:///models/m") as client:
            counts = await client.count(200)
            assert counts[FAILED] > 20
            plane.publisher.publish_model(h.routes("m", 2, v1=(TOTAL - 1, [v1]), v2=(1, [v2])))
            await plane.observer.until_acknowledged("m", 2)
            # A client acknowledges what it has read; its next calls may still go where they went before.
            async with asyncio.timeout(20):
                while (last := await client.count(20)).keys() != {"v1"}:
                    counts = {answer: counts.get(answer, 0) + last.get(answer, 0) for answer in counts | last}
            assert (await client.count(100)).keys() <= {"v1"}
            await plane.observer.until(lambda: plane.observer.loads["m", "v2"][1] == counts[FAILED])
            assert plane.observer.loads["m", "v2"][0] == counts["v2"]
            assert plane.observer.loads["m", "v1"][1] == 0


async def test_a_version_has_a_target_of_its_own() -> None:
    """``models/m/versions/v2`` reaches a version without weight; who asks for a model too early waits for it.

    gRPC gives a listener that it never saw 15 s before it fails calls, whatever the server says.
    """
    async with h.backend("v1") as v1, h.backend("v2") as v2, h.control_plane() as plane:
        plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, [v1]), v2=(0, [v2]))})
        async with (
            h.client(plane.address, "xds:///models/m/versions/v2") as alone,
            h.client(plane.address, "xds:///models/n") as early,
        ):
            assert await alone.count(20) == {"v2": 20}
            waiting = asyncio.ensure_future(early.count(1))
            async with asyncio.timeout(20):
                while not plane.publisher.route_only_clients("n"):  # nobody is told of names that do not exist
                    await asyncio.sleep(0.01)
            plane.publisher.publish_model(h.routes("n", 1, v1=(TOTAL, [v1])))
            await plane.observer.until(lambda: "acknowledged n e1 1/1" in plane.observer.lines)
            assert await waiting == {"v1": 1}
            plane.publisher.publish_model(h.routes("n", 2))
            await plane.observer.until_acknowledged("n", 2)
            # A client acknowledges what it has read; its next calls may still go where they went before.
            async with asyncio.timeout(20):
                while (await early.count(1)).keys() == {"v1"}:
                    await asyncio.sleep(0.05)
            (failure,) = await early.count(1)
            assert failure.startswith("UNAVAILABLE")


async def test_a_client_that_refuses_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """GRPC refuses endpoints that appear twice; it is told as refused, and the client goes on with the routes before."""
    async with h.backend("v1") as v1, h.control_plane() as plane:
        plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, [v1]))})
        async with h.client(plane.address, "xds:///models/m") as client:
            assert await client.count(5) == {"v1": 5}
            with monkeypatch.context() as patch:
                patch.setattr(snapshot, "check_routes", lambda *_: None)
                plane.publisher.publish_model(h.routes("m", 2, v1=(TOTAL, [v1, v1])))
            await plane.observer.until(lambda: any("refused m e2 by client" in each for each in plane.observer.lines))
            assert await client.count(5) == {"v1": 5}
            (view,) = plane.publisher.subscribers()
            assert "duplicate" in view.refusals[0][1]
            (refusal,) = plane.observer.refusals
            assert (refusal.type_url, refusal.names) == (str(ResourceType.ENDPOINT), {"models/m/versions/v1"})
            plane.publisher.publish_model(h.routes("m", 3, v1=(TOTAL, [v1])))
            await plane.observer.until_acknowledged("m", 3)
            assert plane.publisher.subscribers()[0].refusals == ()
