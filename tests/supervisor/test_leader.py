"""What a leader does where its engine, or the disk, does what nobody foresaw."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from echoplaned.core.facts import Dtype, SourceContent, SourceFile, Task
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.engine_kinds import EngineKind, vllm
from echoplaned.engine_kinds.foreign import Build
from echoplaned.supervisor.launching import Places, Prepared, engine_of
from echoplaned.supervisor.leader import EXIT_LOST, Supervisor
from echoplaned.supervisor.log import EngineLog
from echoplaned.supervisor.process import EngineProcess
from echoplaned.worker_contract.order import LoadFailedError, LoadOrder
from echoplaned.worker_contract.record import RecordFile, WorkerPhase

ORDER = LoadOrder(InstanceKey(VersionKey("m", "v1"), 0), 1, Path("/models/m"), Task.GENERATION, Dtype.FP32, 64, 4)


class Engine:
    """Stands for an engine that was started."""

    def __init__(self) -> None:
        self.ended = 0

    async def end(self, grace_s: float) -> None:
        """End it."""
        del grace_s
        self.ended += 1


def led(state_dir: Path, end: Callable[[int], None]) -> tuple[Supervisor, RecordFile, EngineLog, Engine]:
    """Return a leader with an engine, and its parts."""
    record_file = RecordFile(state_dir, "w1", vllm.KIND.name)
    log = EngineLog(state_dir / "logs" / "w1.log", engine_of(vllm.KIND))
    supervisor, engine = Supervisor(record_file, vllm.KIND, "", log, end), Engine()
    supervisor._engine = cast("EngineProcess", engine)
    return supervisor, record_file, log, engine


@pytest.mark.parametrize("error", [TypeError("'int' object is not iterable"), RecursionError(), OSError(28, "full")])
async def test_a_start_that_fails_unforeseen_is_a_failed_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The engine ends, the report says why, and the daemon may try again: nothing says that the version is bad."""
    supervisor, record_file, _, engine = led(tmp_path, lambda _: None)

    async def start(_: object) -> Any:
        raise error

    monkeypatch.setattr(supervisor, "_start", start)
    with pytest.raises(LoadFailedError, match=f"the start failed: {type(error).__name__}") as caught:
        await supervisor.load(ORDER)
    assert caught.value.retryable
    assert engine.ended == 1
    assert record_file.record.phase is WorkerPhase.FAILED
    assert supervisor.report().failure == str(caught.value)


async def test_a_disk_that_takes_no_record_fails_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine lives on behind it, and the reports say so."""
    supervisor, record_file, _, engine = led(tmp_path, lambda _: None)

    def write() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_file, "_write", write)
    with pytest.raises(LoadFailedError, match="No space left"):
        await supervisor.load(ORDER)
    assert engine.ended == 1
    assert supervisor.report().phase is WorkerPhase.FAILED


async def test_a_leader_ends_with_its_engine_where_the_disk_is_full(tmp_path: Path) -> None:
    """That its last line cannot be written changes nothing: a leader without an engine is of no use to anybody."""
    ended: list[int] = []
    supervisor, record_file, log, _ = led(tmp_path, ended.append)
    record_file.update(WorkerPhase.READY)
    log._file = os.open("/dev/full", os.O_WRONLY)
    supervisor._exited(0)
    os.close(log._file)
    assert ended == [EXIT_LOST]


@pytest.mark.parametrize("name", ["m-00001-of-00002.gguf", "m.GGUF"])
async def test_an_engine_gets_a_gguf_file_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Blobs of a hub's cache have names of their own: the engine finds the file, and its parts beside it, by those of the version."""
    supervisor, record_file, _, _ = led(tmp_path, lambda _: None)
    names = (name, "m-00002-of-00002.gguf")
    given: list[Places] = []

    def prepare(order: LoadOrder, kind: EngineKind, build: Build, places: Places) -> Prepared:
        del order, kind, build
        given.append(places)
        assert [(places.model.parent / one).read_text() for one in names] == ["blob 0", "blob 1"]
        raise ValueError("that was all")

    for index in range(2):
        (tmp_path / f"blob{index}").write_text(f"blob {index}")
    files = tuple(SourceFile(one, f"blob{index}", 0, 0, 0) for index, one in enumerate(names))
    monkeypatch.setattr("echoplaned.supervisor.leader.engine_of", lambda _: SimpleNamespace(find_build=_build))
    monkeypatch.setattr("echoplaned.supervisor.leader.prepare", prepare)
    order = replace(ORDER, source_path=Path("/snapshots") / name, content=SourceContent(str(tmp_path), files))
    with pytest.raises(LoadFailedError, match="that was all"):
        await supervisor.load(order)
    assert given[0].model == record_file.links_dir / name


def _build(prefix: str) -> Build:
    del prefix
    return Build("1", ("engine",))
