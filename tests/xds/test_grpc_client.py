"""gRPC's own xDS client, in processes of its own, against the real server and real backends."""

from __future__ import annotations

import math

import xds_harness as h

STAGES = (50_000, 150_000, 300_000, 500_000, 750_000, 900_000, 999_999)
TOTAL = 1_000_000


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
