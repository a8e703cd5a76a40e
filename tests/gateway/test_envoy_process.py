"""A record's process is that very process, or nothing."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from echoplaned.gateway.envoy_process import EnvoyGoneError, EnvoyProcess
from echoplaned.worker_contract.record import read_boot_id, read_start_ticks
from tests.gateway.test_records import RECORD


def start_sleeping() -> subprocess.Popen[bytes]:
    """Start a process that does nothing for a minute."""
    return subprocess.Popen(["/bin/sleep", "60"])


async def test_its_end_is_seen() -> None:
    """A live process is held, told to end, and its end is noticed; once let go it is nobody's concern."""
    with start_sleeping() as sleeping:
        ticks = read_start_ticks(sleeping.pid)
        assert ticks is not None
        record = replace(RECORD, pid=sleeping.pid, start_ticks=ticks, boot_id=read_boot_id())
        held, left = EnvoyProcess(record), EnvoyProcess(record)
        left.detach()
        assert not left.alive
        assert held.alive
        assert not await held.wait(0.05)
        held.terminate()
        assert await held.wait(20.0)
        held.kill()


async def test_another_process_is_not_taken_for_it() -> None:
    """A pid that was used again, or of another boot, or of nobody."""
    me = replace(RECORD, pid=os.getpid(), start_ticks=read_start_ticks(os.getpid()) or 0, boot_id=read_boot_id())
    for record in (replace(me, start_ticks=1), replace(me, boot_id="other"), replace(me, pid=2**22 + 1)):
        with pytest.raises(EnvoyGoneError):
            EnvoyProcess(record)
