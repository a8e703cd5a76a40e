"""The real Envoy takes every type, routes by weight, and reports its load."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from echoplaned.xds.names import ResourceType
from tests.xds import xds_envoy as e
from tests.xds import xds_harness as h

TOTAL = 1_000_000


def counted(observer: h.Recorder, wanted: Mapping[str, int]) -> bool:
    """Whether load reports say that each version has been called so often."""
    return all(observer.loads["m", name][0] == wanted[name] for name in wanted)


async def reported_as_called(envoy: e.Envoy, observer: h.Recorder) -> bool:
    """Call until a round's load reports say exactly what was called: Envoy counts a new cluster from its second report."""
    for _ in range(6):
        before = {name: observer.loads["m", name][0] for name in ("v1", "v2")}
        counts = Counter([await envoy.call("m") for _ in range(40)])
        wanted = {name: before[name] + counts[name] for name in before}
        with contextlib.suppress(TimeoutError):
            await observer.until(partial(counted, observer, wanted), 2.5)
            return True
    return False


@pytest.mark.system
@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_envoy_acknowledges_routes_and_reports(tmp_path: Path, delta: bool) -> None:
    """CDS, EDS, LDS and RDS are acknowledged; a request goes through; a version comes, takes over, goes, comes back."""
    async with (
        h.backend("v1") as v1,
        h.backend("v2") as v2,
        h.control_plane() as plane,
    ):
        plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, [v1]))})
        async with e.envoy(tmp_path, plane.address, delta=delta) as envoy:
            await plane.observer.until(lambda: "subscribers m 1" in plane.observer.lines)
            plane.publisher.publish_model(h.routes("m", 2, v1=(TOTAL - 1, [v1]), v2=(1, [v2])))
            await plane.observer.until_acknowledged("m", 2)
            counts = Counter([await envoy.call("m") for _ in range(50)])
            assert counts["v1"] >= 49
            plane.publisher.publish_model(h.routes("m", 3, v1=(TOTAL // 2, [v1]), v2=(TOTAL // 2, [v2])))
            await plane.observer.until_acknowledged("m", 3)
            counts += Counter([await envoy.call("m") for _ in range(200)])
            assert 60 < counts["v2"] < 140
            for epoch in (4, 6):
                plane.publisher.publish_model(h.routes("m", epoch, v2=(TOTAL, [v2])))
                await plane.observer.until_acknowledged("m", epoch)
                counts += Counter([await envoy.call("m") for _ in range(20)])
                plane.publisher.publish_model(h.routes("m", epoch + 1, v1=(TOTAL, [v1]), v2=(0, [v2])))
                await plane.observer.until_acknowledged("m", epoch + 1)
                counts += Counter([await envoy.call("m") for _ in range(20)])
            assert sum(counts.values()) == 330
            plane.publisher.publish_model(h.routes("m", 8, v1=(TOTAL // 2, [v1]), v2=(TOTAL // 2, [v2])))
            await plane.observer.until_acknowledged("m", 8)
            assert await reported_as_called(envoy, plane.observer)
            stats = {each.type: each for each in plane.publisher.stats.by_type}
            assert all(
                stats[kind].acks > 0 and stats[kind].nacks == 0
                for kind in ResourceType
                if kind is not ResourceType.EXTENSION
            ), stats
    log = envoy.log.read_text()
    assert "can not be added" not in log
    assert "rejected" not in log
