"""What the contract suite's cases do to leaders, and how they wait for effects."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import EngineReady
from echoplaned.engines.leader_client import LeaderClient
from echoplaned.testing.engine_stage import WAIT_S, Stage, check
from echoplaned.worker_contract.record import WorkerPhase, read_records, read_start_ticks
from echoplaned.worker_contract.report import Report

_SETTLED_S = 2.0
"""Longer than the time between two readings of an engine's page."""


def kill_and_wait(pid: int) -> None:
    """Kill a process and return when it is dead: a zombie, or gone."""
    os.kill(pid, signal.SIGKILL)
    while read_start_ticks(pid) is not None:
        time.sleep(0.01)


def loads(stage: Stage) -> bool:
    """Say whether the leader has begun to load."""
    return any(record.phase is WorkerPhase.LOADING for record in read_records(stage.state_dir))


def put_record(path: Path, text: str) -> None:
    """Write a record as a leader does: whole or not at all."""
    temporary = path.with_suffix(".put")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


async def report_of(stage: Stage, ready: EngineReady) -> Report:
    """Return a fresh report of a leader."""
    address = oip_target(ready.endpoints)
    client = LeaderClient(address, stage.engines.control_key_at(address))
    try:
        async with aclosing(client.reports(1.0)) as reports:
            async for report in reports:
                return report
    finally:
        await client.close()
    raise AssertionError("the leader sends no report")


async def until(condition: Callable[[], object], otherwise: str, timeout_s: float = WAIT_S) -> None:
    """Wait for something that other processes do.

    Raises:
        AssertionError: it did not come; the message is ``otherwise``.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        check(time.monotonic() < deadline_s, otherwise)
        await asyncio.sleep(0.05)


async def settled_arrivals(stage: Stage) -> int:
    """Return the arrivals once they have stayed the same for a while.

    Who reads them from an engine's page tells of the probes before a second later.
    """
    since_s, known = time.monotonic(), -1
    while time.monotonic() - since_s < _SETTLED_S:
        found = sum(one.arrivals for one in stage.counts.values())
        if found != known:
            since_s, known = time.monotonic(), found
        await asyncio.sleep(0.1)
    return known
