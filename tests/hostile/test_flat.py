"""Memory and descriptors of the daemon, and of a worker, after very much of everything: as they were after the first fifth of it.

What is kept on purpose is deleted before either look: a model's versions and past rollouts (some 40 kB each) go with the model. Finished
operations stay, 1,000 at most.

``ECHOPLANE_FLAT_ROLLOUTS`` (30), ``_LOADS`` (50), ``_SUBSCRIPTIONS`` (100000), ``_REFUSED`` (1000000): how many of each.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import psutil
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2, models_pb2_grpc
from echoplaned.xds.names import ResourceType
from tests.e2e import e2e_system as e
from tests.hostile.attack import text_request
from tests.hostile.own_memory import own_bytes

pytestmark = [pytest.mark.soak, pytest.mark.timeout(6 * 3600)]

GROWN: Final = 1.02
WARM_SHARE: Final = 0.2
_AT_ONCE: Final = 50
_SETTLE_S: Final = 20.0
"""The daemon hands free memory back when two looks, five seconds apart, see the same."""
_CALL_S: Final = 60.0


def count_of(name: str, default: int) -> int:
    """Return how many of something are wanted."""
    return int(os.environ.get(f"ECHOPLANE_FLAT_{name}", str(default)))


@dataclass(frozen=True, slots=True)
class Size:
    """What a process holds.

    Attributes:
        rss_mib: resident, pages of files among them: the kernel takes and gives those back as it pleases.
        own_mib: resident and of no file, which is what a process can leak.
        descriptors: open ones.
    """

    rss_mib: float
    own_mib: float
    descriptors: int

    def __str__(self) -> str:
        return f"{self.rss_mib:.1f} MiB, {self.own_mib:.1f} of no file, {self.descriptors} descriptors"


def size_of(pid: int) -> Size:
    """Look at a process once it is quiet."""
    e.pause(_SETTLE_S)
    process = psutil.Process(pid)
    return Size(process.memory_info().rss / 2**20, own_bytes(pid) / 2**20, process.num_fds())


async def repeat(count: int, one: Callable[[int], Awaitable[str]]) -> Counter[str]:
    """Do something so many times, some at once; return how each ended."""
    ended: Counter[str] = Counter()
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            ended[await one(number)] += 1

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return ended


async def code_of(call: Any) -> str:
    """Wait for a call, and name its status."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def subscribe_many(address: str, count: int) -> Counter[str]:
    """Open a stream for each subscription, take the first answer, and leave."""
    async with grpc.aio.insecure_channel(address, DIRECT_OPTIONS) as channel:
        stub: Any = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)

        async def one(number: int) -> str:
            call = stub.StreamAggregatedResources(timeout=_CALL_S)
            await call.write(
                discovery_pb2.DiscoveryRequest(
                    node=base_pb2.Node(id=f"flat-{number}"),
                    type_url=str(ResourceType.LISTENER),
                    resource_names=["models/m", f"models/made-up-{number}"],
                )
            )
            answer = await call.read()
            call.cancel()
            return "answered" if isinstance(answer, discovery_pb2.DiscoveryResponse) else "ended"

        return await repeat(count, one)


async def refuse_many(daemon: str, worker: str, count: int) -> Counter[str]:
    """Send requests that are refused: bad loads and unknown names to the daemon, bad tensors and other models to the worker."""
    async with (
        grpc.aio.insecure_channel(daemon, DIRECT_OPTIONS) as to_daemon,
        grpc.aio.insecure_channel(worker, DIRECT_OPTIONS) as to_worker,
    ):
        models: Any = models_pb2_grpc.ModelServiceStub(to_daemon)
        inference: Any = oip_grpc.GRPCInferenceServiceStub(to_worker)
        bad_tensor = text_request("m", "a")
        bad_tensor.inputs[0].shape[:] = [7]

        async def one(number: int) -> str:
            match number % 4:
                case 0:
                    load = models_pb2.LoadModelRequest(model_id=f"No Model {number}", source_uri="file:x")
                    return await code_of(models.LoadModel(load, timeout=_CALL_S))
                case 1:
                    unknown = models_pb2.GetModelRequest(name=f"models/unknown-{number}")
                    return await code_of(models.GetModel(unknown, timeout=_CALL_S))
                case 2:
                    return await code_of(inference.ModelInfer(bad_tensor, timeout=_CALL_S))
                case _:
                    return await code_of(inference.ModelInfer(text_request(f"m{number}", "a"), timeout=_CALL_S))

        return await repeat(count, one)


def roll_out_all(system: e.System, begin: int, end: int) -> None:
    """Load a model, update it for each number, and delete it with all that it was."""
    system.load("rolled", "first")
    for number in range(begin, end):
        roll_out(system, number)
    system.delete("rolled")


def roll_out(system: e.System, number: int) -> None:
    """Update the model and wait for the end."""
    policy = e.fast_policy(stages_percent=(50, 100), stage_min_s=0.5, soak_s=0.5, probe_count=5)
    source = "better" if number % 2 == 0 else "encoder"
    system.finish(system.update("rolled", f"r{number}", source, policy), 600.0)


def load_and_delete(system: e.System, number: int) -> None:
    """Load another model and delete it."""
    system.load(f"loaded-{number}")
    system.delete(f"loaded-{number}")


def in_two_parts(name: str, count: int, do: Callable[[int, int], object]) -> Callable[[bool], None]:
    """Return what does the first fifth of something, and then the rest of it."""
    first = max(1, round(WARM_SHARE * count))

    def part(is_first: bool) -> None:
        begin, end = (0, first) if is_first else (first, count)
        print(f"{name}: {end - begin} {do(begin, end) or ''}", flush=True)  # noqa: T201 - the soak's result

    return part


def each_of(do: Callable[[int], None]) -> Callable[[int, int], None]:
    """Return what does something for each number of a range."""

    def all_of(begin: int, end: int) -> None:
        for number in range(begin, end):
            do(number)

    return all_of


def test_nothing_grows(own_system: e.MakeSystem) -> None:
    """Rollouts, loads and deletes, subscriptions and refused requests; what the daemon and the worker hold is printed."""
    system = own_system()
    system.load("m")
    (instance,) = next(iter(system.client.list_versions("m"))).instances
    address = system.daemon.address
    parts = [
        in_two_parts("rollouts", count_of("ROLLOUTS", 30), lambda begin, end: roll_out_all(system, begin, end)),
        in_two_parts("loads and deletes", count_of("LOADS", 50), each_of(lambda n: load_and_delete(system, n))),
        in_two_parts(
            "subscriptions",
            count_of("SUBSCRIPTIONS", 100_000),
            lambda begin, end: asyncio.run(subscribe_many(address, end - begin)),
        ),
        in_two_parts(
            "refused requests",
            count_of("REFUSED", 1_000_000),
            lambda begin, end: asyncio.run(refuse_many(address, instance.address, end - begin)),
        ),
    ]
    assert system.daemon.process is not None
    pids = {"daemon": system.daemon.process.pid, "worker": instance.pid}
    for part in parts:
        part(True)
    before = {name: size_of(pid) for name, pid in pids.items()}
    for part in parts:
        part(False)
        print(f"  the daemon then: {size_of(pids['daemon'])}", flush=True)  # noqa: T201 - which of them it was
    after = {name: size_of(pid) for name, pid in pids.items()}
    for name in pids:
        ratio = after[name].own_mib / before[name].own_mib
        print(f"{name}: {before[name]} -> {after[name]}: {ratio - 1:+.1%}", flush=True)  # noqa: T201 - the soak's result
    for name in pids:
        assert after[name].own_mib <= GROWN * before[name].own_mib, name
        assert after[name].descriptors <= GROWN * before[name].descriptors + 1, name
