"""When a model counts as hung: by its steps, its slowest ones, and the daemon's own probes."""

from __future__ import annotations

from dataclasses import dataclass, field

from echoplaned.engines.progress import HangLimits, StepProgress
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.report import Counters, Report


@dataclass
class Engine:
    """Reports twice a second; a test says how many calls it has and when it makes a step."""

    now_s: float = 0.0
    steps: int = 0
    calls: int = 0
    expected_s: float = 0.0
    progress: StepProgress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = StepProgress(HangLimits(), 0.0)
        self.progress.is_probed = True
        self.go(0.5, steps=2)

    def go(self, seconds: float, *, steps: int = 0) -> str:
        """Report for a while without a step, then with some; say why it is hung at the end of the time without."""
        why = ""
        for _ in range(int(2 * seconds)):
            self._report()
            why = self.progress.why_hung(self.now_s)
        self.steps += steps
        if steps:
            self._report()
        return why

    def _report(self) -> None:
        self.now_s += 0.5
        counters = Counters(in_flight=self.calls)
        report = Report(WorkerPhase.READY, counters, progress=self.steps, step_expected_s=self.expected_s)
        self.progress.take(report, self.now_s)


def test_a_slow_step_gives_the_next_ones_four_times_as_long() -> None:
    """For ten minutes; a quick one moves nothing."""
    engine = Engine(calls=1)
    assert engine.progress.limit_s(engine.now_s) == 8
    engine.go(4.5, steps=1)
    assert engine.progress.limit_s(engine.now_s) == 20
    assert not engine.go(19.5)
    assert engine.go(1) == "1 calls in flight and no step for 20 s"
    engine.go(0, steps=1)
    engine.calls = 0
    engine.go(601)
    assert engine.progress.limit_s(engine.now_s) == 8


def test_a_long_prompt_has_the_time_that_its_size_asks_for() -> None:
    """Nobody has seen a step of its length; the engine says what it expects, and gets four times as long."""
    engine = Engine(calls=1)
    engine.expected_s = 25.0
    assert not engine.go(99)
    assert engine.go(3)


def test_an_idle_engine_is_probed_after_three_seconds_and_hangs_by_the_probe() -> None:
    """An engine without calls is never hung; its probe is a call, also where the engine counts none."""
    engine = Engine()
    engine.go(2.5, steps=1)
    assert not engine.progress.wants_probe(engine.now_s)
    engine.go(3)
    assert engine.progress.wants_probe(engine.now_s)
    assert not engine.go(100)
    engine.progress.probe_began(engine.now_s)
    assert not engine.progress.wants_probe(engine.now_s)
    assert not engine.go(5.5)
    assert engine.go(0.5) == "1 calls in flight and no step for 8 s"


def test_an_engine_that_hangs_while_it_is_idle_is_found_within_ten_seconds() -> None:
    """From its last step to the end of the wait for a probe: whoever calls first, as long as the engine can say what a step takes."""
    probed = Engine()
    probed.progress.probe_ended(probed.now_s, answered=True)
    last_step_s = probed.now_s
    while not probed.progress.wants_probe(probed.now_s):
        probed.go(0.5)
    probed.progress.probe_began(probed.now_s)
    while not probed.go(0.5):
        assert probed.now_s - last_step_s < 9.5
    called = Engine()
    last_step_s = called.now_s
    called.go(2.5)
    called.calls, called.expected_s = 1, 0.1
    while not called.go(0.5):
        assert called.now_s - last_step_s < 9.5


def test_idle_time_is_no_part_of_a_step() -> None:
    """A quick answer after a pause moves no limit, and a first request of unknown size has the whole time for itself."""
    engine = Engine()
    engine.go(3)
    engine.calls = 1
    assert not engine.go(8)
    assert engine.go(0.5)
    engine = Engine()
    engine.go(3)
    engine.calls, engine.expected_s = 1, 0.1
    engine.go(0.5, steps=1)
    engine.calls, engine.expected_s = 0, 0.0
    engine.go(3)
    engine.progress.probe_began(engine.now_s)
    engine.progress.probe_ended(engine.now_s + 0.5, answered=True)
    assert engine.progress.limit_s(engine.now_s) == 8


def test_a_busy_engine_is_probed_every_five_seconds() -> None:
    """Steps show that it computes, and not what."""
    engine = Engine(calls=3)
    engine.progress.probe_began(engine.now_s)
    engine.progress.probe_ended(engine.now_s, answered=True)
    for _ in range(4):
        engine.go(0.5, steps=5)
    assert not engine.progress.wants_probe(engine.now_s)
    for _ in range(2):
        engine.go(0.5, steps=5)
    assert engine.progress.wants_probe(engine.now_s)


def test_a_caller_that_reads_nothing_is_no_hang() -> None:
    """Its stream is in flight for ever; the probe's answer shows that the model computes, and nothing is taken for slow."""
    engine = Engine(calls=1)
    for _ in range(20):
        assert not engine.go(3)
        assert engine.progress.wants_probe(engine.now_s)
        engine.progress.probe_began(engine.now_s)
        engine.go(0.5, steps=1)
        engine.progress.probe_ended(engine.now_s, answered=True)
    assert engine.progress.limit_s(engine.now_s) == 8


def test_an_engine_that_nobody_probes_has_a_minute() -> None:
    """Without a probe a caller that reads nothing looks like a hang; so does a step of unknown length."""
    engine = Engine(calls=1)
    engine.progress.is_probed = False
    assert not engine.go(59)
    assert engine.go(2)
    adopted = StepProgress(HangLimits(), 0.0)
    adopted.is_probed = True
    adopted.take(Report(WorkerPhase.READY, Counters(in_flight=1), progress=700), 0.5)
    assert adopted.limit_s(0.5) == 60


def test_time_in_which_the_daemon_slept_is_nobodys() -> None:
    """A gap in the daemon's own running is taken off."""
    engine = Engine(calls=1)
    engine.now_s += 100
    engine.progress.forgive(100)
    assert not engine.go(7)
