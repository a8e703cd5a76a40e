"""A connection has a share of the streams and of the names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.core.budgets import SMALL_SHARE
from echoplaned.xds import ads, lrs
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.names import ResourceType
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher
from tests.xds import xds_harness as h
from tests.xds.xds_calls import METHODS, delta_call, node, raw_call, refused, sotw_call

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
ONE = h.routes("m", 1, v1=(TOTAL, ["127.0.0.1:7001"]))


@contextlib.asynccontextmanager
async def served(budgets: XdsBudgets) -> AsyncIterator[tuple[Publisher, str]]:
    """Serve ADS and LRS within these budgets."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({"m": ONE})
    server = grpc.aio.server(options=server_options())
    reports = lrs.LoadReportService(h.Recorder(), h.FakeClock(), budgets)
    server.add_generic_rpc_handlers((ads.AdsService(publisher, None, budgets).handler(), reports.handler()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield publisher, f"127.0.0.1:{port}"
    await server.stop(0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20.0):
        while not condition():
            await asyncio.sleep(0.01)


OWN = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


async def test_a_connection_has_a_share_of_the_streams() -> None:
    """Who opens stream after stream is refused at its share; another connection's first streams are served, and all comes back."""
    budgets = XdsBudgets(streams=80)
    hello = discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=["models/m"], node=node(id="a"))
    async with served(budgets) as (publisher, address):
        async with grpc.aio.insecure_channel(address, OWN) as greedy, grpc.aio.insecure_channel(address, OWN) as small:
            calls = []
            for _ in range(20):
                calls.append(sotw_call(greedy))
                await calls[-1].write(hello)
                assert len((await calls[-1].read()).resources) == 1
            assert await refused(sotw_call(greedy)) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await refused_report(greedy, budgets) is grpc.StatusCode.RESOURCE_EXHAUSTED
            other = sotw_call(small)
            await other.write(hello)
            assert len((await other.read()).resources) == 1
            for call in (*calls, other):
                call.cancel()
        await eventually(lambda: publisher.stats.streams_open == 0)
    assert (budgets.ads_streams.used, budgets.lrs_streams.used, budgets.names.used) == (0, 0, 0)


async def refused_report(channel: grpc.aio.Channel, budgets: XdsBudgets) -> grpc.StatusCode:
    """Open streams of load reports up to the share, and return how the next one ends."""
    calls = []
    for _ in range(budgets.lrs_streams.share):
        calls.append(raw_call(channel, METHODS[2]))
        await calls[-1].write(lrs_pb2.LoadStatsRequest(node=node(id="a")).SerializeToString())
        await calls[-1].read()
    code = await refused(raw_call(channel, METHODS[2]))
    for call in calls:
        call.cancel()
    return code


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_a_connection_has_a_share_of_the_names(*, delta: bool) -> None:
    """Names count over all streams of a connection: what is beyond its share is refused, and with its streams they are given back."""
    budgets = XdsBudgets(names=1000)

    def hello(start: int, count: int) -> Any:
        names = [f"models/made-up-{number}" for number in range(start, start + count)]
        if delta:
            return discovery_pb2.DeltaDiscoveryRequest(type_url=str(LDS), resource_names_subscribe=names)
        return discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=names)

    open_call = delta_call if delta else sotw_call
    async with served(budgets) as (publisher, address):
        async with grpc.aio.insecure_channel(address, OWN) as greedy, grpc.aio.insecure_channel(address, OWN) as small:
            first, second, other = open_call(greedy), open_call(greedy), open_call(small)
            await first.write(hello(0, 150))
            await first.read()
            await second.write(hello(0, 51))
            assert await refused(second) is grpc.StatusCode.RESOURCE_EXHAUSTED
            await other.write(hello(0, SMALL_SHARE))
            await other.read()
            assert budgets.names.used == 150 + SMALL_SHARE
            assert publisher._tracker._tracks.keys() == {"m"}
            for call in (first, other):
                call.cancel()
        await eventually(lambda: publisher.stats.streams_open == 0)
    assert budgets.names.used == 0
