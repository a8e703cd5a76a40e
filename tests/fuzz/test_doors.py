"""The same inputs over real gRPC: the daemon and a worker answer each with a status of their own, and are as large as before.

``ECHOPLANE_FUZZ_S``: seconds for each door, 600 by default.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, cast

import grpc
import psutil
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from echoplane.inference import grpc_service_pb2 as oip
from tests.e2e import e2e_system as e
from tests.fuzz import targets
from tests.fuzz.mutator import Mutator
from tests.hostile.attack import serving_record
from tests.hostile.own_memory import own_bytes
from tests.hostile.raw_streams import DELTA, LRS, OPTIONS, SOTW, connection

pytestmark = [pytest.mark.soak, pytest.mark.system, pytest.mark.timeout(3600)]

SECONDS = float(os.environ.get("ECHOPLANE_FUZZ_S", "600"))
SEED = int(os.environ.get("ECHOPLANE_FUZZ_SEED", "1"))
ANSWER_S: Final = 30.0
"""A status has to come by then, on a busy machine; the slowest one is printed."""

GROWN: Final = 1.02
FIFTHS: Final = 5
LOOKS: Final = 100
"""Memory is looked at so often; the least of the second fifth is compared with the least of the last one."""

Code = grpc.StatusCode
_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
_UNARY: Final = frozenset(
    {Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED, Code.PERMISSION_DENIED}
)
_STREAM: Final = frozenset({Code.OK, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED})


@dataclass(slots=True)
class Seen:
    """How inputs ended, the slowest answer, and those that ended as none may."""

    codes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def take(self, data: bytes, code: grpc.StatusCode | None, details: str, began_s: float) -> None:
        """Note one ending; None: none came in time."""
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        self.codes["no answer" if code is None else code.name] += 1
        if code not in _UNARY | _STREAM:
            self.faults.append(f"{code}: {details[:300]}: {data[:300]!r}, {len(data)} bytes")


@pytest.fixture(scope="module")
def fuzzed(start_system: Any) -> Iterator[e.System]:
    """A daemon of this file's own, with a worker that serves ``m/v1``."""
    with ExitStack() as stack:
        running = start_system(stack, ("--standby-workers", "0"))
        running.load("m")
        yield running


def go_on(pid: int, name: str, each: Callable[[Seen], None]) -> None:
    """Send inputs for the time that is told; print how they ended, and compare memory with that after the first of it."""
    process, seen, began_s = psutil.Process(pid), Seen(), time.monotonic()
    fifths: dict[int, list[tuple[int, int]]] = {number: [] for number in range(FIFTHS + 1)}
    looked_s = began_s
    while (passed_s := time.monotonic() - began_s) < SECONDS and len(seen.faults) < 10:
        each(seen)
        if time.monotonic() - looked_s > SECONDS / LOOKS:
            looked_s = time.monotonic()
            fifths[int(FIFTHS * passed_s / SECONDS)].append((own_bytes(pid), process.num_fds()))
    time.sleep(2.0)
    assert fifths[1], f"too slow, or ended after {passed_s:.0f} s: {seen.faults}"
    warm = _least(fifths[1])
    rss, descriptors = _least([*fifths[FIFTHS - 1], (own_bytes(pid), process.num_fds())])
    print(  # noqa: T201 - the soak's result
        f"{name:14} {seen.codes.total():8} inputs in {SECONDS:.0f} s: {dict(seen.codes)}, slowest {seen.slowest_s:.2f} s, "
        f"own memory {warm[0] / 2**20:.1f} -> {rss / 2**20:.1f} MiB ({rss / warm[0] - 1:+.1%}), descriptors {warm[1]} -> {descriptors}",
        flush=True,
    )
    assert not seen.faults, "\n".join(seen.faults)
    assert rss < GROWN * warm[0]
    assert descriptors <= warm[1] + 2


def _least(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the least memory and the fewest descriptors of a fifth.

    gRPC's core takes and gives back some 10 MB from moment to moment; what has grown is missing from no moment.
    """
    return min(rss for rss, _ in sizes), min(descriptors for _, descriptors in sizes)


def test_inference_of_a_worker(fuzzed: e.System) -> None:
    """ModelInfer of bytes made of valid requests: a status of its own each, and an honest call is answered afterwards."""
    record = serving_record(fuzzed.daemon.state_dir)
    mutator = Mutator(targets.inference_seeds(), Random(SEED), oip.ModelInferRequest)
    with grpc.insecure_channel(record.address, OPTIONS) as channel:
        send = cast(Any, channel).unary_unary(_INFER)

        def each(seen: Seen) -> None:
            data, began_s = mutator.next(), time.monotonic()
            try:
                send(data, timeout=ANSWER_S)
                code, details = Code.OK, ""
            except grpc.RpcError as error:
                code, details = cast(Any, error).code(), str(cast(Any, error).details())
            seen.take(data, code, details, began_s)

        go_on(record.pid, "ModelInfer", each)
        assert send(targets.inference_seeds()[0], timeout=ANSWER_S)


_DOORS: Final = {
    "sotw": (SOTW, targets.sotw_seeds, discovery_pb2.DiscoveryRequest),
    "delta": (DELTA, targets.delta_seeds, discovery_pb2.DeltaDiscoveryRequest),
    "lrs": (LRS, targets.report_seeds, lrs_pb2.LoadStatsRequest),
}


@pytest.mark.parametrize("door", list(_DOORS))
def test_streams_of_the_daemon(fuzzed: e.System, door: str) -> None:
    """A stream for each pair of inputs: it ends well or with INVALID_ARGUMENT, and no traceback is written."""
    method, seeds, message = _DOORS[door]
    mutator = Mutator(seeds(), Random(SEED), message)
    written = fuzzed.daemon.log_path.stat().st_size
    with ExitStack() as stack:
        start = stack.enter_context(connection(fuzzed.daemon.address))

        def each(seen: Seen) -> None:
            data, began_s = mutator.next(), time.monotonic()
            stream = start(method)
            stream.send(data)
            stream.send(mutator.next())
            stream.end()
            code = stream.wait_ended(ANSWER_S)
            seen.take(data, code, stream.details, began_s)

        assert fuzzed.daemon.process is not None
        go_on(fuzzed.daemon.process.pid, door, each)
    with fuzzed.daemon.log_path.open("rb") as log:
        log.seek(written)
        assert b"Traceback" not in log.read()
    assert fuzzed.client.get_status().store_writable
