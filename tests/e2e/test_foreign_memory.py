"""Other processes take memory between plan and load: on GPUs, by a driver's library that a file controls, and on the host, for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from echoplane import Client
from echoplane.errors import EchoplaneError
from echoplane.v1 import diagnostics_pb2, operations_pb2, planning_pb2, plans_pb2
from echoplaned.planning.host_memory import MemoryFiles
from echoplaned.testing.daemon import DaemonProcess
from tests.e2e import e2e_system as e

MIB = 1024 * 1024
GIB = 1024 * MIB
LEFT = MIB
"""What a card has free that others fill; no model is so small."""
_HOLD = "import sys; held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]); print('ready', flush=True); sys.stdin.read()"


@contextmanager
def held_memory(size: int, wrapper: tuple[str, ...] = ()) -> Iterator[int]:
    """Let another process hold so many bytes of the host's memory; yield its number."""
    command = [*wrapper, sys.executable, "-c", _HOLD.format(size=size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.stdin.close()


@dataclass(frozen=True, slots=True)
class Cards:
    """Two cards of 24 GiB, as a driver's library tells of them."""

    file: Path
    library: Path

    def say(self, free_bytes: int, holder: int = 0) -> None:
        """Let each card have so much free, the rest being one process's."""
        lines = [f"device Fake-24G {24 * GIB} {free_bytes}" for _ in range(2)]
        lines += [f"process {number} {holder} {24 * GIB - free_bytes}" for number in range(2) if holder]
        written = self.file.with_suffix(".new")
        written.write_text("\n".join(lines) + "\n", encoding="ascii")
        written.replace(self.file)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What a process is started by that shall find this library where it looks for NVIDIA's."""
        path = f"{self.library}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":")
        return ("env", f"LD_LIBRARY_PATH={path}", f"FAKE_NVML={self.file}")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library; return its folder."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build the driver's library with")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def cards(library: Path, tmp_path: Path) -> Cards:
    """Two cards that are empty at first."""
    made = Cards(tmp_path / "cards", library)
    made.say(24 * GIB)
    return made


StartWrapped = Callable[[tuple[str, ...], tuple[str, ...]], e.System]


@pytest.fixture
def start_wrapped(tmp_path: Path, made: e.Checkpoints, bytecode: Path) -> Iterator[StartWrapped]:
    """Start a daemon by another command, with more arguments."""
    with ExitStack() as stack:

        def start(wrapper: tuple[str, ...], extra: tuple[str, ...]) -> e.System:
            state_dir = tmp_path / "state"
            state_dir.mkdir(mode=0o700)
            (state_dir / "bytecode").symlink_to(bytecode)
            (state_dir / "daemon.lock").touch(mode=0o600)
            daemon = DaemonProcess(state_dir, (made.root,), extra, wrapper=wrapper)
            stack.callback(daemon.clean)
            daemon.start(120.0)
            return e.System(daemon, stack.enter_context(Client(daemon.address, e.ONCE)), made)

        yield start


def devices(system: e.System) -> list[planning_pb2.Device]:
    """Return the devices as the daemon lists them."""
    return list(system.client.list_devices())


def plan_request(system: e.System, max_concurrency: int = 0) -> planning_pb2.PlanModelRequest:
    """Return the question whether the encoder fits."""
    return planning_pb2.PlanModelRequest(source_uri=system.made.uri("encoder"), max_concurrency=max_concurrency)


def plan_of(system: e.System, least_bytes: int) -> plans_pb2.Plan:
    """Return the plan of the encoder at the lowest concurrency that takes so much."""
    plans = (system.client.plan_model(plan_request(system, concurrency)) for concurrency in range(8, 4096, 8))
    return next(plan for plan in plans if plan.upper_bytes >= least_bytes)


def metadata(system: e.System, operation: str) -> operations_pb2.OperationMetadata:
    """Return an operation's progress."""
    found = operations_pb2.OperationMetadata()
    assert system.client.get_operation(operation).metadata.Unpack(found)
    return found


def test_a_card_that_others_fill(cards: Cards, start_wrapped: StartWrapped) -> None:
    """Planned on an empty card, refused once a process holds it; the error, the list and the plan name that process."""
    system = start_wrapped(cards.wrapper, ("--standby-workers", "0"))
    first = system.client.plan_model(plan_request(system))
    assert (first.fits, list(first.device_ids)) == (True, ["cuda:0"])
    cards.say(LEFT, os.getpid())
    with e.refused("MEMORY_INSUFFICIENT", grpc.StatusCode.RESOURCE_EXHAUSTED) as caught:
        system.client.load_model(system.load_request("m"))
    text = str(caught.value)
    held = 24 * GIB - LEFT
    assert f"cuda:0 has {LEFT} of" in text
    assert f"other processes hold {held} bytes" in text
    assert f"(pid {os.getpid()}) {held}" in text
    second = system.client.plan_model(plan_request(system))
    assert not second.fits
    assert [fit.foreign_bytes for fit in second.devices] == [held, held]
    e.eventually(lambda: devices(system)[0].measured.foreign_bytes == held, 30.0, "a look at the cards")
    card = devices(system)[0]
    assert (card.device_id, card.available_bytes, card.measured.own_bytes) == ("cuda:0", LEFT, 0)
    assert f"(pid {os.getpid()})" in card.measured.holders[0].name
    assert card.free_bytes > 20 * GIB
    cards.say(24 * GIB)
    assert system.client.plan_model(plan_request(system)).fits


def test_a_load_waits_for_what_was_released(cards: Cards, start_wrapped: StartWrapped) -> None:
    """After an engine gave its card back the next load waits until that is measured; not for ever, and its operation says why.

    There is no GPU here: an engine that is placed on one cannot start, and that it is tried shows that the wait is over.
    """
    system = start_wrapped(cards.wrapper, ("--standby-workers", "0", "--memory-wait-s", "8"))

    def load(version: str) -> str:
        return system.client.load_model(system.load_request("m", version)).name

    def fill_released() -> None:
        e.eventually(lambda: not any(card.reserved_bytes for card in devices(system)), 60.0, "the end of the engine")
        cards.say(LEFT, os.getpid())

    with pytest.raises(EchoplaneError) as cannot:
        system.finish(system.client.get_operation(load("v1")))
    assert "MEMORY" not in str(cannot.value)
    fill_released()
    waiting = load("v2")
    e.eventually(lambda: bool(metadata(system, waiting).waiting_reason), 60.0, "the reason of the wait")
    reason = metadata(system, waiting).waiting_reason
    assert f"(pid {os.getpid()})" in reason
    assert "cuda:0 has" in reason
    cards.say(24 * GIB)
    with pytest.raises(EchoplaneError) as placed:
        system.finish(system.client.get_operation(waiting))
    assert "MEMORY" not in str(placed.value)
    fill_released()
    with pytest.raises(EchoplaneError) as refused:
        system.finish(system.client.get_operation(load("v3")))
    assert refused.value.reason == "MEMORY_INSUFFICIENT"
    assert f"other processes hold {24 * GIB - LEFT} bytes" in str(refused.value)


@contextmanager
def own_cgroup(limit_bytes: int) -> Iterator[tuple[str, ...]]:
    """Make a cgroup with a limit of memory; yield the command that starts a process in it."""
    files = MemoryFiles()
    lines = files.membership.read_text(encoding="utf-8").splitlines()
    groups = {controllers: own for _, controllers, own in (line.split(":", 2) for line in lines)}
    is_first = "memory" in groups
    root = files.root / "memory" if is_first else files.root
    parent = root / groups.get("memory", groups.get("", "")).lstrip("/")
    folder = parent / f"echoplane-test-{os.getpid()}"
    limit = folder / ("memory.limit_in_bytes" if is_first else "memory.max")
    try:
        folder.mkdir()
        limit.write_text(str(limit_bytes), encoding="ascii")
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"a cgroup of its own cannot be had here: {error}")
    yield ("sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh")
    e.eventually(
        lambda: not (folder / "cgroup.procs").read_text(encoding="ascii"), 60.0, "the end of the cgroup's processes"
    )
    folder.rmdir()


def test_host_memory_that_others_take(start_wrapped: StartWrapped, made: e.Checkpoints) -> None:
    """A process takes the memory that a plan counted with: refused by its name; once it has ended, the same load comes true."""
    made.path("encoder")
    with own_cgroup(1600 * MIB) as inside:
        system = start_wrapped(inside, ("--standby-workers", "0"))
        try:
            (host,) = devices(system)
            assert (host.capacity_bytes, host.measured.total_bytes) == (1600 * MIB, 1600 * MIB)
            plan = plan_of(system, 200 * MIB)
            assert plan.fits
            big: dict[str, Any] = {"max_concurrency": plan.max_concurrency}
            size = host.measured.free_bytes - plan.upper_bytes // 2
            with held_memory(size, inside) as pid:
                with e.refused("MEMORY_INSUFFICIENT", grpc.StatusCode.RESOURCE_EXHAUSTED) as caught:
                    system.client.load_model(system.load_request("m", **big))
                assert f"(pid {pid})" in str(caught.value)
                e.eventually(lambda: devices(system)[0].available_bytes < plan.upper_bytes, 30.0, "a look at the host")
            system.finish(system.client.load_model(system.load_request("m", **big)))
            e.eventually(lambda: devices(system)[0].measured.own_bytes > 50 * MIB, 30.0, "a look at the engine")
            # It grows into what the engine was promised and has not taken.
            (host,) = devices(system)
            promised = host.reserved_bytes - host.measured.own_bytes
            if promised > 64 * MIB:
                with held_memory(host.measured.free_bytes - promised // 2, inside):
                    e.eventually(
                        lambda: any("other processes hold" in alarm for alarm in alarms(system)), 30.0, "an alarm"
                    )
        finally:
            system.daemon.clean()


def alarms(system: e.System) -> list[str]:
    """Return what somebody should look at."""
    status: diagnostics_pb2.GetStatusResponse = system.client.get_status()
    return list(status.alarms)
