"""The devices of a host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.planning import devices

GIB = 1024**3


def test_host_memory_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NVML there is one device, no larger than the host, with a tenth or 1 GiB kept free."""

    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    (host,) = devices.find_devices()
    assert (host.device_id, host.kind) == ("host", "host")
    assert 0 < host.capacity_bytes <= psutil.virtual_memory().total
    assert host.reserve_bytes == max(host.capacity_bytes // 10, GIB)


@pytest.mark.parametrize(("capacity", "reserve"), [(100 * GIB, 10 * GIB), (5 * GIB, GIB), (GIB // 2, GIB // 2), (0, 0)])
def test_an_override_is_taken_as_it_is(capacity: int, reserve: int) -> None:
    """Settings may give host memory a size; the reserve never exceeds it."""
    (host,) = devices.find_devices(host_memory_bytes=capacity)
    assert (host.capacity_bytes, host.reserve_bytes) == (capacity, reserve)


def test_gpus_come_before_host_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each GPU that NVML names is a device; a driver that fails half-way leaves host memory."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(total=(handle + 1) * 40 * GIB)
    )
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: f"GPU {handle}")
    found = devices.find_devices()
    assert [(one.device_id, one.kind, one.name) for one in found] == [
        ("cuda:0", "cuda", "GPU 0"),
        ("cuda:1", "cuda", "GPU 1"),
    ]
    assert [one.reserve_bytes for one in found] == [4 * GIB, 8 * GIB]

    def fail(handle: int) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", fail)
    assert devices.find_devices()[0].kind == "host"


def test_limits_of_the_cgroup_and_its_parents(tmp_path: Path) -> None:
    """Every level counts; ``max`` is no limit; another namespace's path means the root."""
    root = tmp_path / "cgroup"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "memory.max").write_text("2000\n")
    (root / "a" / "b" / "memory.max").write_text("max\n")
    membership = tmp_path / "self"
    membership.write_text("1:cpu:/x\n0::/a/b\n")
    assert devices.cgroup_limits(root, membership) == [2000]
    (root / "a" / "b" / "memory.max").write_text("1000\n")
    assert devices.cgroup_limits(root, membership) == [1000, 2000]
    membership.write_text("0::/../../elsewhere\n")
    (root / "memory.max").write_text("3000\n")
    assert devices.cgroup_limits(root, membership) == [3000]


def test_limits_of_version_1(tmp_path: Path) -> None:
    """Hosts with the older hierarchy: its limits count too, those of other controllers do not."""
    membership = tmp_path / "cgroup"
    membership.write_text("8:pids:/a\n4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/\n", encoding="ascii")
    for folder, limit in (
        ("memory", 2**63 - 4096),
        ("memory/a", 6 * 1024**3),
        ("memory/a/b", 8 * 1024**3),
        ("pids/a", 5),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "memory.limit_in_bytes").write_text(f"{limit}\n", encoding="ascii")
    assert min(devices.cgroup_limits(tmp_path, membership)) == 6 * 1024**3
    assert len(devices.cgroup_limits(tmp_path, membership)) == 3


def test_no_cgroup(tmp_path: Path) -> None:
    """None, or one whose files are not there, sets no limit."""
    assert devices.cgroup_limits(tmp_path, tmp_path / "missing") == []
    membership = tmp_path / "self"
    membership.write_text("3:memory:/user\n")
    assert devices.cgroup_limits(tmp_path, membership) == []


def test_the_instruction_set_is_read_from_the_kernel(tmp_path: Path) -> None:
    """A limit in the workers' environment counts; a system without the file says nothing."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: avx2 avx512f avx512bw avx512vl avx512dq\n")
    assert devices.host_isa({}, cpuinfo) is CpuIsa.AVX512_CORE
    assert devices.host_isa({"ONEDNN_MAX_CPU_ISA": "AVX2"}, cpuinfo) is CpuIsa.AVX2
    assert devices.host_isa({}, tmp_path / "none") is CpuIsa.UNKNOWN
