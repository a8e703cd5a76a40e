"""Jobs: one of a key at a time, and none whose failure goes unheard."""

from __future__ import annotations

import asyncio

import pytest

from echoplaned.core.effects import EffectKey
from echoplaned.engines.jobs import Jobs

START: EffectKey = ("start", "m/v1#0", 3)
DRAIN: EffectKey = ("drain", "m/v1#0", 3)


class PanicError(BaseException):
    """What native code raises where it panics: no Exception."""


class Desk:
    """Jobs with everything they said."""

    def __init__(self) -> None:
        self.failed: list[tuple[EffectKey, BaseException]] = []
        self.ended: list[str] = []
        self.runs = 0
        self.gate = asyncio.Event()
        self.jobs = Jobs(lambda key, error: self.failed.append((key, error)), self.ended.append)

    async def work(self) -> None:
        """Run until the gate opens."""
        self.runs += 1
        await self.gate.wait()


async def settle() -> None:
    """Let tasks and their callbacks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_job_of_a_key_at_a_time() -> None:
    """The same effect again changes nothing while it is done; afterwards it is done again."""
    desk = Desk()
    for _ in range(3):
        desk.jobs.run(START, desk.work)
    await settle()
    assert (desk.runs, desk.jobs.is_loading) == (1, True)
    desk.gate.set()
    await settle()
    assert (desk.ended, desk.jobs.is_loading) == (["start"], False)
    desk.jobs.run(START, desk.work)
    await settle()
    assert desk.runs == 2
    assert desk.failed == []


@pytest.mark.parametrize("error", [RuntimeError("nobody foresaw this"), PanicError("index out of bounds")])
async def test_what_nobody_foresaw_is_told_with_its_key(error: BaseException) -> None:
    """An exception of any kind is handed on, and the job is over."""
    desk = Desk()

    async def work() -> None:
        raise error

    desk.jobs.run(START, work)
    await settle()
    assert desk.failed == [(START, error)]
    assert desk.ended == ["start"]


async def test_a_cancelled_job_is_no_failure() -> None:
    """Cancelling is ours, and a closed desk begins nothing."""
    desk = Desk()
    desk.jobs.run(START, desk.work)
    desk.jobs.run(DRAIN, desk.work)
    await settle()
    assert desk.jobs.cancel(DRAIN)
    assert not desk.jobs.cancel(DRAIN)
    await desk.jobs.cancel_all((START, DRAIN))
    desk.jobs.run(START, desk.work)
    await settle()
    await desk.jobs.close()
    desk.jobs.run(DRAIN, desk.work)
    await settle()
    assert desk.runs == 3
    assert desk.failed == []
