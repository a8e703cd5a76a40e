"""Weight change to all acknowledged, at 1, 100 and 1,000 raw ADS streams, in one run.

The server is the daemon's own ADS part in this process; the clients are raw state-of-the-world streams in another
process, ten to a connection, each subscribed as a gRPC client is (LDS, RDS, CDS, EDS) and acknowledging every response
in full. A round publishes new weights and ends when ``routes_acknowledged`` is called. Both sides are Python on the same
machine: the figure holds the clients' own work too. ``bare`` is the same without any xDS in the server: it writes the
same bytes to the same streams and ends when each has answered; what grpc.aio and the machine take at that moment.

    python benchmarks/xds/push.py --rounds 100 --json push.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import grpc.aio
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.ports.traffic import Reporter
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.ads import SERVICE, AdsService
from echoplaned.xds.names import ResourceType
from echoplaned.xds.observer import LoadReport, Nack, Refusal
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.subscriptions import Push
from echoplaned.xds.wire import Encoder

STREAMS = (1, 100, 1000)
STREAMS_PER_CONNECTION = 10
PAUSE_S = 0.02
WARM_UP_ROUNDS = 5
CLUSTERS = ("models/m/versions/v1", "models/m/versions/v2")
SUBSCRIBED = {
    ResourceType.LISTENER: ("models/m",),
    ResourceType.ROUTE: ("models/m",),
    ResourceType.CLUSTER: CLUSTERS,
    ResourceType.ENDPOINT: CLUSTERS,
}
"""What a gRPC client subscribes to, in the order in which it asks."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; times in milliseconds. ``server_cpu_ms``: of this process, a round, pause included."""

    what: str
    streams: int
    rounds: int
    median_ms: float
    p99_ms: float
    worst_ms: float
    server_cpu_ms: float
    rss_mib: float


class Waiter:
    """An observer that resolves a future when an epoch is acknowledged."""

    def __init__(self) -> None:
        self.epoch = 0
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.had = 0

    def expect(self, epoch: int) -> asyncio.Future[float]:
        """Return what is resolved with the time at which this epoch is acknowledged."""
        self.epoch, self.done = epoch, asyncio.get_running_loop().create_future()
        return self.done

    def routes_acknowledged(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """Resolve."""
        assert not stale, f"{len(stale)} subscribers of {model} did not answer"
        assert acknowledged == subscribers
        if epoch == self.epoch and not self.done.done():
            self.done.set_result(time.perf_counter())

    def routes_progress(
        self, _model: str, _epoch: int, acknowledged: int, _subscribers: int, _stale: tuple[str, ...]
    ) -> None:
        """Note how many have the routes."""
        self.had = acknowledged

    def routes_refused(self, refusal: Refusal) -> None:
        """Nobody refuses here."""
        raise AssertionError(str(refusal))

    def routes_held(self, _model: str, _epoch: int, refusals: tuple[Refusal, ...]) -> None:
        """Nobody refuses here."""
        raise AssertionError(str(refusals))

    def subscriber_left_out(self, refusal: Refusal) -> None:
        """Nobody refuses here."""
        raise AssertionError(str(refusal))

    def nack_recorded(self, nack: Nack) -> None:
        """Nobody refuses here."""
        raise AssertionError(str(nack))

    def subscribers_changed(self, model: str, count: int) -> None:
        """Not of interest."""

    def load_report(self, _report: LoadReport) -> None:
        """Nobody reports here."""

    def load_stream_ended(self, _reporter: Reporter) -> None:
        """Nobody reports here."""


def routes(epoch: int) -> ModelRoutes:
    """Return routes whose weights differ from epoch to epoch."""
    share = 50_000 + epoch % 1000
    return ModelRoutes(
        "m",
        epoch,
        (
            ClusterView("v1", 1_000_000 - share, (RouteEndpoint("127.0.0.1:7001"),), routed=True),
            ClusterView("v2", share, (RouteEndpoint("127.0.0.1:7002"),), routed=True),
        ),
    )


class Bare:
    """A server that answers every request by type with one fixed response, and pushes one to all streams on demand."""

    def __init__(self, bodies: dict[str, bytes]) -> None:
        self._bodies = bodies
        self._streams: list[tuple[asyncio.Event, grpc.aio.ServicerContext]] = []
        self._waiting = 0
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.settled = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler."""
        method = grpc.stream_stream_rpc_method_handler(
            self._serve, request_deserializer=discovery_pb2.DiscoveryRequest.FromString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"StreamAggregatedResources": method})

    def push(self) -> asyncio.Future[float]:
        """Write to every stream; return what is resolved when all have answered."""
        self._done = asyncio.get_running_loop().create_future()
        self._waiting = len(self._streams)
        for due, _ in self._streams:
            due.set()
        return self._done

    async def _serve(self, _requests: object, context: grpc.aio.ServicerContext) -> None:
        for type_url in SUBSCRIBED:
            await context.read()
            await context.write(self._bodies[str(type_url)])
            await context.read()
        due = asyncio.Event()
        self._streams.append((due, context))
        self.settled += 1
        while True:
            await due.wait()
            due.clear()
            await context.write(self._bodies[str(ResourceType.ROUTE)])
            await context.read()
            self._waiting -= 1
            if self._waiting == 0:
                self._done.set_result(time.perf_counter())


async def measure_bare(streams: int, rounds: int) -> Result:
    """Measure the same without xDS in the server."""
    served = snapshots.build({"m": routes(1)})
    bodies: dict[str, bytes] = {}
    for kind in SUBSCRIBED:
        wanted = tuple(each for each in served if each.type is kind and each.name in (*CLUSTERS, "models/m"))
        bodies[str(kind)] = Encoder().encode(Push(kind, "1", wanted, (), {}), delta=False)
    bare = Bare(bodies)
    async with serving(bare.handler()) as address, clients(address, streams, lock_step=True):
        await settle(lambda: bare.settled >= streams)
        return await rounds_of("bare", streams, rounds, lambda _epoch: bare.push())


async def measure(streams: int, rounds: int) -> Result:
    """Measure with so many streams, on a server of its own."""
    waiter = Waiter()
    publisher = Publisher(waiter, asyncio.get_running_loop().time)
    publisher.open({"m": routes(1)})
    ads = AdsService(publisher)

    def publish(epoch: int) -> asyncio.Future[float]:
        done = waiter.expect(epoch)
        publisher.publish_model(routes(epoch))
        return done

    async with serving(ads.handler()) as address, clients(address, streams):
        ticker = asyncio.ensure_future(ads.run())
        await settle(lambda: waiter.had >= streams)
        result = await rounds_of("xds", streams, rounds, publish)
        ticker.cancel()
        ads.close()
    return result


@contextlib.asynccontextmanager
async def serving(handler: grpc.GenericRpcHandler) -> AsyncIterator[str]:
    """Run a server; yield its address."""
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0.5)


@contextlib.asynccontextmanager
async def clients(address: str, streams: int, *, lock_step: bool = False) -> AsyncIterator[None]:
    """Run the clients' process.

    Its end ends what is measured, which would wait for it for ever.

    Raises:
        ExceptionGroup: of a RuntimeError: the process ended by itself.
    """
    step = ("--lock-step",) if lock_step else ()
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--client", address, "--streams", str(streams), *step
    )
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(fail_when_ended(process))
        try:
            yield
        finally:
            watching.cancel()
            if process.returncode is None:
                process.terminate()
                await process.wait()


async def fail_when_ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of the clients' process, which nobody asked for."""
    raise RuntimeError(f"the clients' process ended with status {await process.wait()}")


async def settle(ready: Callable[[], bool]) -> None:
    """Wait until the streams stand, and put what exists out of the collector's way."""
    while not ready():  # noqa: ASYNC110 - nobody would set an event; this is outside of what is measured
        await asyncio.sleep(PAUSE_S)
    gc.collect()
    gc.freeze()


async def rounds_of(what: str, streams: int, rounds: int, start: Callable[[int], asyncio.Future[float]]) -> Result:
    """Start rounds one after another; each gives the time at which it was done."""
    taken_ms: list[float] = []
    cpu_s = 0.0
    for number in range(WARM_UP_ROUNDS + rounds):
        if number == WARM_UP_ROUNDS:
            cpu_s = time.process_time()
        begin = time.perf_counter()
        done = start(2 + number)
        taken_ms.append((await done - begin) * 1000)
        await asyncio.sleep(PAUSE_S)
    cpu_ms = (time.process_time() - cpu_s) / rounds * 1000
    return summary(what, streams, taken_ms[WARM_UP_ROUNDS:], cpu_ms)


def summary(what: str, streams: int, taken_ms: list[float], cpu_ms: float) -> Result:
    """Fold the rounds of one measurement."""
    ordered = sorted(taken_ms)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(what, streams, len(ordered), statistics.median(ordered), p99, ordered[-1], cpu_ms, rss_mib)


async def one_stream(channel: grpc.aio.Channel, number: int, *, lock_step: bool) -> None:
    """Be one subscriber until cancelled. ``lock_step``: wait for each first answer before the next request."""
    call: grpc.aio.StreamStreamCall = channel.stream_stream(
        f"/{SERVICE}/StreamAggregatedResources",
        request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
    )()
    names = {str(each): wanted for each, wanted in SUBSCRIBED.items()}
    node = base_pb2.Node(id=f"raw-{number}", user_agent_name="raw")
    for type_url, wanted in names.items():
        await call.write(discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=wanted, node=node))
        if lock_step:
            await acknowledge(call, await call.read(), names)
    while (response := await call.read()) is not grpc.aio.EOF:
        await acknowledge(call, response, names)


async def acknowledge(
    call: grpc.aio.StreamStreamCall, response: discovery_pb2.DiscoveryResponse, names: dict[str, tuple[str, ...]]
) -> None:
    """Answer a response."""
    await call.write(
        discovery_pb2.DiscoveryRequest(
            type_url=response.type_url,
            resource_names=names[response.type_url],
            version_info=response.version_info,
            response_nonce=response.nonce,
        )
    )


async def be_clients(address: str, streams: int, *, lock_step: bool) -> None:
    """Be so many subscribers until terminated."""
    own = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(-(-streams // STREAMS_PER_CONNECTION))]
    await asyncio.gather(
        *(one_stream(channels[number % len(channels)], number, lock_step=lock_step) for number in range(streams))
    )


async def main(rounds: int) -> list[Result]:
    """Measure and print the table."""
    results: list[Result] = []
    print(
        f"{'':>5} {'streams':>8} {'rounds':>7} {'median ms':>10} {'p99 ms':>8} {'worst ms':>9} "
        f"{'cpu ms':>7} {'rss MiB':>8}"
    )
    for streams in STREAMS:
        for measured in (measure_bare, measure):
            each = await measured(streams, rounds)
            results.append(each)
            print(
                f"{each.what:>5} {each.streams:>8} {each.rounds:>7} {each.median_ms:>10.2f} {each.p99_ms:>8.2f} "
                f"{each.worst_ms:>9.2f} {each.server_cpu_ms:>7.2f} {each.rss_mib:>8.0f}",
                flush=True,
            )
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--client", default="", help=argparse.SUPPRESS)
    parser.add_argument("--streams", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--lock-step", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        asyncio.run(be_clients(arguments.client, arguments.streams, lock_step=arguments.lock_step))
    else:
        table = asyncio.run(main(arguments.rounds))
        if arguments.json is not None:
            lines = {"push_to_acknowledged": [asdict(each) for each in table]}
            arguments.json.write_text(json.dumps(lines, indent=2) + "\n")
