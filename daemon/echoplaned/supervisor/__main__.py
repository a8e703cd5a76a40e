"""Entry point: ``python -m echoplaned.supervisor --engine NAME=PREFIX``.

It claims its record, then leads the engine that it is told to load.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from echoplaned.engine_kinds import KINDS, EngineKind
from echoplaned.engine_kinds.configured import declared_name, split_setting
from echoplaned.supervisor.launching import engine_of
from echoplaned.supervisor.leader import Supervisor
from echoplaned.supervisor.log import EngineLog
from echoplaned.supervisor.process import become_subreaper, raise_descriptor_limit
from echoplaned.worker_contract.arguments import EXIT_TAKEN, LeaderArguments, read_arguments
from echoplaned.worker_contract.record import RecordFile, RecordTakenError, WorkerPhase
from echoplaned.worker_contract.server import LeaderServer

EXIT_ARGUMENTS = 2


def main() -> int:
    """Lead one engine and return the exit code.

    0: stopped as told. 2: bad arguments. 3: the id is taken. 70: the engine ended unasked.
    """
    arguments = read_arguments("The leader of one foreign engine.")
    try:
        kind, prefix = _read_engine(arguments.engine)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ARGUMENTS
    try:
        record_file = RecordFile(arguments.state_dir, arguments.worker_id, kind.name)
    except RecordTakenError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_TAKEN
    become_subreaper()
    raise_descriptor_limit()
    code = asyncio.run(_lead(record_file, kind, prefix, arguments))
    if code == 0:
        record_file.release()
    return code


def _read_engine(text: str) -> tuple[EngineKind, str]:
    """Read ``NAME=PREFIX``.

    Raises:
        ValueError: it is not of this form, or names no kind.
    """
    name, prefix = split_setting(text)
    kind = declared_name(name, KINDS)
    if kind is None:
        raise ValueError(f"there is no engine {name!r}")
    return replace(kind, name=name), prefix


async def _lead(record_file: RecordFile, kind: EngineKind, prefix: str, arguments: LeaderArguments) -> int:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    log = EngineLog(_log_path(arguments.state_dir, arguments.worker_id), engine_of(kind))
    leader = Supervisor(record_file, kind, prefix, log, end)
    server = LeaderServer(leader, record_file)
    await server.start(arguments.listen, await leader.open(server.server))
    record_file.update(WorkerPhase.STANDBY)
    told = asyncio.create_task(server.wait_for_stop())
    await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        # The engine has gone: its family goes at once, and the record stays to say whose it was.
        await leader.stop()
        return ended.result()
    await server.stop(told.result())
    await leader.stop()
    return 0


def _log_path(state_dir: Path, worker_id: str) -> Path:
    return state_dir / "logs" / f"{worker_id}.log"


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    # Threads that look at processes may be under way; nothing of them is worth waiting for.
    os._exit(exit_code)
