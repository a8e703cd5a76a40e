"""What is measured of this host, of its cgroups, and of GPUs by what their driver says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from echoplaned import process_files
from echoplaned.core.memory import MeasuredMemory, MemoryHolder
from echoplaned.planning.devices import host_device
from echoplaned.planning.host_memory import MemoryFiles, Room
from echoplaned.planning.host_processes import (
    FamilyBytes,
    descendants,
    largest_holders,
    private_bytes,
    process_name,
)
from echoplaned.planning.measuring import GpuProcess, Meter, differs, foreign_holders, own_bytes

MIB = 1024 * 1024
_HOLD = "import sys; held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]); print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def hog() -> Iterator[int]:
    """Yield a process whose child holds 200 MiB."""
    code = _HOLD.format(size=200 * MIB)
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_the_host_and_our_own_part_of_it(hog: int) -> None:
    """A leader's children count as ours; the same processes count as others where nobody leads them."""
    (own,) = Meter((host_device(),), lambda: frozenset({hog})).measure()
    (others,) = Meter((host_device(),), frozenset).measure()
    assert own.own_bytes is not None
    assert others.own_bytes == 0
    assert 200 * MIB <= own.own_bytes < 300 * MIB
    assert 0 < own.free_bytes < own.total_bytes <= psutil.virtual_memory().total
    assert len(descendants({hog})) == 2


_FORK = """
import os, sys
held = bytearray(os.urandom(4096)) * (200 * 256)
read, write = os.pipe()
for _ in range(3):
    if not os.fork():
        sum(held[::4096])
        os.write(write, b"x")
        sys.stdin.read()
        os._exit(0)
for _ in range(3):
    os.read(read, 1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_pages_that_an_engines_processes_share_count_once() -> None:
    """A server that forks three workers behind its 200 MiB holds them once: four times as much would be promised bytes of others."""
    with subprocess.Popen([sys.executable, "-c", _FORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert len(descendants({process.pid})) == 4
        assert sum(map(private_bytes, descendants({process.pid}))) > 800 * MIB
        meter = Meter((host_device(),), lambda: frozenset({process.pid}))
        for _ in range(2):
            (found,) = meter.measure()
            assert found.own_bytes is not None
            assert 200 * MIB <= found.own_bytes < 300 * MIB
        assert process.stdin is not None
        process.stdin.close()


def test_shares_are_read_again_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small moves are added to a share, and large ones, another company or many looks have it read again; a lone process has none."""
    status, read = {1: 100 * MIB, 2: 100 * MIB}, Counter[int]()

    def text(pid: int, name: str) -> str:
        if name == "status":
            return f"RssAnon: {status[pid] // 1024} kB"
        read[pid] += 1
        return f"Pss_Anon: {status[pid] // 2048} kB"

    monkeypatch.setattr(process_files, "read_text", text)
    both, held = frozenset({1, 2}), FamilyBytes()
    assert [held.add_up([both]) for _ in range(60)] == [100 * MIB] * 60
    assert read == {1: 1, 2: 1}
    assert (held.add_up([both]), read) == (100 * MIB, {1: 2, 2: 2})
    status[1] += MIB
    assert (held.add_up([both]), read) == (101 * MIB, {1: 2, 2: 2})
    status[1] += 99 * MIB
    assert (held.add_up([both]), read) == (150 * MIB, {1: 3, 2: 2})
    assert (held.add_up([frozenset({1}), frozenset({2})]), read) == (300 * MIB, {1: 3, 2: 2})


def test_the_largest_others_are_named(hog: int) -> None:
    """Whoever holds much is told with name and number, but for ours."""
    (child,) = descendants({hog}) - {hog}
    assert private_bytes(child) >= 200 * MIB
    named = [one.name for one in largest_holders(frozenset())]
    assert len(named) <= 3
    own = frozenset({hog, child, *(int(name.partition("(pid ")[2][:-1]) for name in named)})
    assert f"(pid {child})" not in " ".join(one.name for one in largest_holders(own))


def test_a_process_that_has_gone() -> None:
    """It holds nothing, has no name and no children."""
    nobody = 2**22 + 1
    assert (private_bytes(nobody), process_name(nobody), descendants({nobody})) == (0, "", {nobody})
    assert process_name(os.getpid())


@pytest.mark.parametrize(
    ("folder", "names", "prefix", "membership"),
    [
        ("memory/a", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_", "4:memory:/a/b\n"),
        ("a", ("memory.max", "memory.current"), "", "0::/a/b\n"),
    ],
)
def test_room_within_a_cgroup(
    tmp_path: Path, folder: str, names: tuple[str, str], prefix: str, membership: str
) -> None:
    """Either version: the limit less what is used and cannot be dropped; the tightest level counts."""
    (tmp_path / folder / "b").mkdir(parents=True)
    (tmp_path / "self").write_text(membership, encoding="ascii")
    files = MemoryFiles(tmp_path, tmp_path / "self")
    for at, limit, used, dropped in ((folder, 900 * MIB, 700 * MIB, 300 * MIB), (f"{folder}/b", 2**40, 0, 0)):
        (tmp_path / at / names[0]).write_text(f"{limit}\n", encoding="ascii")
        (tmp_path / at / names[1]).write_text(f"{used}\n", encoding="ascii")
        stat = f"{prefix}active_file {dropped // 2}\n{prefix}inactive_file {dropped // 2}\n{prefix}anon {used}\n"
        (tmp_path / at / "memory.stat").write_text(stat, encoding="ascii")
    assert files.tightest() == Room(900 * MIB, 500 * MIB)
    (tmp_path / folder / "memory.stat").unlink()
    assert files.tightest() == Room(900 * MIB, 200 * MIB)
    (tmp_path / folder / names[1]).unlink()
    assert min(files.limits()) == 900 * MIB


def name(pid: int) -> str:
    """Return the name of a process that is known here: those below 100."""
    return f"p{pid}" if pid < 100 else ""


@pytest.mark.parametrize(
    ("processes", "own", "held"),
    [
        (None, {1}, None),
        ((), {1}, 0),
        ((GpuProcess(1, 5), GpuProcess(2, 7)), {1}, 5),
        ((GpuProcess(1, None),), {1}, None),
        # Only numbers that nobody has here: the driver speaks of another namespace, and ours may be among them.
        ((GpuProcess(4711, 5),), {1}, None),
        ((GpuProcess(4711, 5), GpuProcess(1, 6)), {1}, 6),
        ((GpuProcess(4711, 5),), set(), 0),
        ((GpuProcess(2, 5),), {1}, 0),
    ],
)
def test_what_is_ours_of_a_gpu(processes: tuple[GpuProcess, ...] | None, own: set[int], held: int | None) -> None:
    """By the driver's list of processes, where it tells and its numbers are those of this host."""
    assert own_bytes(processes, frozenset(own), name) == held


def test_who_else_is_on_a_gpu() -> None:
    """The largest first; one without a name is told by its number."""
    processes = (GpuProcess(1, 5), GpuProcess(2, 7), GpuProcess(4711, 9), GpuProcess(3, None))
    assert foreign_holders(processes, frozenset({1}), name) == (
        MemoryHolder("a process (pid 4711)", 9),
        MemoryHolder("p2 (pid 2)", 7),
        MemoryHolder("p3 (pid 3)", 0),
    )
    assert foreign_holders(None, frozenset(), name) == ()


def test_only_news_is_told() -> None:
    """A few megabytes more or less are none; another process, or a device that does not answer any more, is."""
    before = MeasuredMemory("host", 2**40, 2**39, 5, (MemoryHolder("a", 1),))
    same = MeasuredMemory("host", 2**40, 2**39 - MIB, 5, (MemoryHolder("a", 2),))
    assert not differs((before,), (same,))
    for other in (
        MeasuredMemory("host", 2**40, 2**39 - 16 * MIB, 5, before.holders),
        MeasuredMemory("host", 2**40, 2**39, None, before.holders),
        MeasuredMemory("host", 2**40, 2**39, 5, (MemoryHolder("b", 1),)),
        MeasuredMemory("cuda:0", 2**40, 2**39, 5, before.holders),
    ):
        assert differs((before,), (other,))
    assert differs((before,), ())
