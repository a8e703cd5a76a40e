"""When a worker counts as stuck, what its counters come to, and when its memory is told again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds import KindLimits
from echoplaned.engines.instance import InstanceLimits, NoReportError, WatchedInstance
from echoplaned.engines.leader_process import LeaderProcess
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.report import CounterFlags, Counters, Memory, Report, StartProgress
from tests.engines.engine_bench import KEY

READY = Report(WorkerPhase.READY)
LOADING = Report(WorkerPhase.LOADING)
LIMITS = InstanceLimits(KindLimits(start_s=1000.0, start_quiet_s=100.0, start_silence_s=20.0))
MIB = 1024 * 1024


@dataclass
class FakeWorker:
    """Stands where a worker's process stands; only its id is asked for."""

    worker_id: str = "w1"


@dataclass
class Desk:
    """A watched instance with a clock in the test's hand."""

    now_s: float = 100.0
    told: list[RequestCounts] = field(default_factory=list)
    declared: list[EngineCounters] = field(default_factory=list)
    tokens: list[tuple[TokenCounts | None, bool]] = field(default_factory=list)
    ended_count: int = 0

    def __post_init__(self) -> None:
        worker = cast("LeaderProcess", FakeWorker())
        self.instance = WatchedInstance((KEY, 1), worker, self, lambda: self.now_s, LIMITS)

    def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
        """Take counters."""
        assert (version, process) == (KEY.version, "w1")
        self.told.append(counts)

    def timed(self, version: VersionKey, process: str, latencies: tuple[Histogram, ...]) -> None:
        """Nobody asks."""

    def count_tokens(self, version: VersionKey, process: str, tokens: TokenCounts | None, *, is_adopted: bool) -> None:
        """Take tokens."""
        assert (version, process) == (KEY.version, "w1")
        self.tokens.append((tokens, is_adopted))

    def declare(self, version: VersionKey, process: str, counters: EngineCounters) -> None:
        """Take which counters there are."""
        assert (version, process) == (KEY.version, "w1")
        self.declared.append(counters)

    def on_ended(self, version: VersionKey, process: str) -> None:
        """Take the end."""
        assert (version, process) == (KEY.version, "w1")
        self.ended_count += 1

    def accept(self) -> None:
        """Pass the start's probes: from now on its steps are looked at, and it is probed."""
        self.instance.is_accepted = True
        self.instance.progress.is_probed = True

    def look(self, seconds: float, report: Report | None = None) -> bool:
        """Let time go on, with a report at its end if there is one; return whether the worker is silent then."""
        self.now_s += seconds
        if report is not None:
            self.instance._take(report)
        return self.instance.look_for_silence()

    def silent_after(self) -> float:
        """Return how long the worker says nothing until it counts as silent."""
        began_s = self.now_s
        while not self.look(0.25):
            assert self.now_s - began_s < 60
        return self.now_s - began_s

    def after(self, seconds: float, report: Report | None = None) -> str:
        """Let time go on second by second, a report at each if there is one; return why the worker is stuck in the end."""
        why = ""
        for _ in range(int(seconds)):
            self.now_s += 1
            if report is not None:
                self.instance._take(report)
            why = self.instance.why_stuck()
        return why


def test_silence_is_stuck_after_five_seconds() -> None:
    """A ready worker that stops reporting is stuck; one that never was ready is not."""
    desk = Desk()
    assert not desk.after(10)
    desk.instance._take(replace(READY, phase=WorkerPhase.LOADING))
    assert not desk.after(10)
    desk.instance._take(READY)
    assert not desk.after(5)
    assert desk.after(1) == "no report for 6 s"


def test_a_short_silence_is_told_and_forgotten() -> None:
    """After a second without a report; where reports are late, after twice the longest gap, and never after a stuck one."""
    desk = Desk()
    desk.accept()
    for _ in range(4):
        assert not desk.look(0.25)
        assert not desk.look(0.25, READY)
    waited = []
    for _ in range(3):
        waited.append(desk.silent_after())
        assert not desk.look(0.25, READY)
    assert waited == [1.5, 4.0, 5.5]


def test_a_daemon_that_was_late_calls_nobody_silent() -> None:
    """After its own delay it reads what was reported meanwhile before it says anything."""
    desk = Desk()
    desk.accept()
    desk.look(0.25, READY)
    assert not desk.look(3.0)
    assert not desk.look(0.25, READY)
    assert not desk.look(5.25)
    assert desk.look(0.25)


def test_calls_without_a_step_are_stuck_after_eight_seconds() -> None:
    """Reports alone are no life: a step of the model is. While its first probes run, they have a limit of their own."""
    desk = Desk()
    busy = replace(READY, counters=Counters(in_flight=3), progress=7)
    assert not desk.after(100, busy)
    desk = Desk()
    desk.accept()
    desk.instance._take(READY)
    desk.instance._take(busy)
    assert not desk.after(8, busy)
    assert desk.after(1, busy) == "3 calls in flight and no step for 9 s"
    assert not desk.after(8, replace(busy, progress=8))


def test_one_that_falls_silent_before_it_said_ready_is_stuck() -> None:
    """It has answered its probes: that its last report was of its load makes it no less stuck."""
    desk = Desk()
    desk.instance._take(LOADING)
    assert not desk.after(60)
    desk.instance._take(LOADING)
    desk.accept()
    assert desk.look(0.25) is False
    assert desk.after(6) == "no report for 6 s"


def test_a_leader_that_never_reports_is_stuck() -> None:
    """One that was adopted and says nothing at all is no more alive than one that fell silent."""
    desk = Desk()
    assert not desk.after(30)
    assert desk.after(1) == "no report for 31 s"


def test_a_start_is_judged_by_the_limits_of_its_kind() -> None:
    """Silence, no progress, and no end: each by its own limit; a step, memory or another phase is progress."""
    desk = Desk()
    desk.instance.start_began()
    assert not desk.after(20)
    assert desk.after(1) == "no report for 21 s in its start"
    assert not desk.after(101, LOADING)
    assert desk.after(1, LOADING) == "its start made no progress for 101 s"
    assert not desk.after(101, replace(LOADING, memory=Memory(rss_bytes=5 * MIB)))
    steps = [replace(LOADING, start=StartProgress("Loading weights", count)) for count in range(7)]
    assert not any(desk.after(90, report) for report in steps[1:])
    assert desk.after(20, steps[-1]).endswith("no progress for 109 s at 'Loading weights'")
    desk.instance.start_ended()
    assert not desk.after(1, READY)


def test_a_start_that_goes_on_for_ever_is_stuck() -> None:
    """Progress alone does not make a start."""
    desk = Desk()
    desk.instance.start_began()
    why = ""
    for count in range(1001):
        why = desk.after(1, replace(LOADING, start=StartProgress("step", count)))
    assert why == "its start did not end within 1000 s"


def test_tokens_are_told_as_they_are_counted() -> None:
    """Not before the first count while it starts; once it serves, also that there is none; and whether an earlier daemon started it."""
    desk = Desk()
    for report in (
        LOADING,
        replace(LOADING, tokens=TokenCounts(0, 0)),
        READY,
        replace(READY, tokens=TokenCounts(5, 6)),
    ):
        desk.instance._take(report)
    assert desk.tokens == [(TokenCounts(0, 0), False), (None, False), (TokenCounts(5, 6), False)]
    adopted = Desk()
    adopted.instance.count_from_now()
    for _ in range(2):
        adopted.instance._take(replace(READY, tokens=TokenCounts(5, 6)))
    assert adopted.tokens == [(TokenCounts(5, 6), True)] * 2


def test_what_an_engine_does_not_count_is_told() -> None:
    """Unset is not zero: once, and again when it changes."""
    desk = Desk()
    for _ in range(2):
        desk.instance._take(replace(READY, flags=CounterFlags(counts_arrivals=True)))
    desk.instance._take(READY)
    assert desk.declared == [
        EngineCounters(counts_arrivals=True),
        EngineCounters(counts_arrivals=True, counts_errors=True, has_traces=True),
    ]


def test_an_idle_hour_is_not_stuck() -> None:
    """Progress stands still while nothing is asked for."""
    desk = Desk()
    assert not desk.after(3600, READY)
    desk.accept()
    assert not desk.after(59, replace(READY, counters=Counters(in_flight=1)))


def test_a_daemon_that_slept_blames_nobody() -> None:
    """After a gap in the daemon's own running, silence says nothing about the worker."""
    desk = Desk()
    desk.after(1, READY)
    desk.now_s += 120
    assert not desk.instance.why_stuck()
    assert not desk.after(4)
    assert desk.after(2)


def test_an_adopted_worker_counts_from_its_first_report() -> None:
    """What it answered under an earlier daemon is not told as new."""
    desk = Desk()
    desk.instance.count_from_now()
    desk.instance._take(replace(READY, counters=Counters(ok=10, server_errors=4, arrivals=15, in_flight=1)))
    desk.instance._take(replace(READY, counters=Counters(ok=12, server_errors=5, arrivals=17, in_flight=0)))
    assert desk.told == [RequestCounts(in_flight=1), RequestCounts(ok=2, server_errors=1, arrivals=2)]
    desk.instance.on_ended()
    assert desk.ended_count == 1


def test_the_daemons_own_probes_are_no_traffic() -> None:
    """A report may come in the middle of the probing, and the last probe's count after it: none of it is told as traffic."""
    desk = Desk()
    for sent, counted in ((1, 0), (2, 2), (3, 2), (3, 3), (3, 5)):
        while desk.instance._probes_sent < sent:
            desk.instance.probe_sent()
        desk.instance._take(replace(READY, counters=Counters(ok=counted, arrivals=counted)))
    assert [counts.ok for counts in desk.told] == [0, 0, 0, 0, 2]
    assert [counts.arrivals for counts in desk.told] == [0, 0, 0, 0, 2]


def test_a_probe_that_failed_is_no_error_of_the_version() -> None:
    """One that a full queue refused was counted by the engine as its own fault, one that found nobody was not counted at all."""
    desk = Desk()
    desk.accept()
    desk.instance.probe_began()
    desk.instance.probe_ended(answered=False)
    desk.instance.probe_began()
    desk.instance.probe_ended(answered=False, arrived=False)
    desk.instance.probe_began()
    desk.instance.probe_ended(answered=True)
    desk.instance._take(replace(READY, counters=Counters(ok=4, server_errors=2, arrivals=6)))
    assert desk.told == [RequestCounts(ok=3, server_errors=1, arrivals=4)]


@pytest.mark.parametrize(
    ("told", "now", "again"), [(None, 100, None), (100, 103, None), (100, 106, 106), (10, 13, None), (100, 50, None)]
)
def test_grown_memory_is_told_again(told: int | None, now: int, again: int | None) -> None:
    """By five per cent and four MiB at least, and never before the first measurement."""
    desk = Desk()
    desk.instance.measured_bytes = None if told is None else told * MIB
    desk.instance._take(replace(READY, memory=Memory(rss_anon_bytes=now * MIB)))
    assert desk.instance.grown_memory() == (None if again is None else again * MIB)
    assert desk.instance.grown_memory() is None


async def test_nobody_waits_for_the_reports_of_the_dead() -> None:
    """Whoever waits for the next report when the leader goes, or asks afterwards, is told that there is none."""
    desk = Desk()
    desk.instance._take(READY)
    waiting = asyncio.ensure_future(desk.instance.next_report())
    await asyncio.sleep(0)
    desk.instance.on_ended()
    for asked in (waiting, desk.instance.next_report()):
        with pytest.raises(NoReportError):
            await asyncio.wait_for(asked, 5)
