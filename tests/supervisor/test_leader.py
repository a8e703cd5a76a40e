"""What a leader does where its engine, or the disk, does what nobody foresaw."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from echoplaned.engine_kinds import vllm
from echoplaned.supervisor.launching import engine_of
from echoplaned.supervisor.leader import EXIT_LOST, Supervisor
from echoplaned.supervisor.log import EngineLog
from echoplaned.supervisor.process import EngineProcess
from echoplaned.worker_contract.record import RecordFile, WorkerPhase


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


async def test_a_leader_ends_with_its_engine_where_the_disk_is_full(tmp_path: Path) -> None:
    """That its last line cannot be written changes nothing: a leader without an engine is of no use to anybody."""
    ended: list[int] = []
    supervisor, record_file, log, _ = led(tmp_path, ended.append)
    record_file.update(WorkerPhase.READY)
    log._file = os.open("/dev/full", os.O_WRONLY)
    supervisor._exited(0)
    os.close(log._file)
    assert ended == [EXIT_LOST]
