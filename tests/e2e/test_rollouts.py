"""Rollouts under live traffic from four client processes: good ones fail nobody, bad ones come back by themselves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import pytest

from echoplane import RolledBackError
from echoplaned.testing.loadgen import LoadProcesses, Sample
from tests.e2e import e2e_system as e

PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Ended:
    """One update: what the clients saw while it ran, and seconds from its first failed request to the acknowledged rollback."""

    samples: list[Sample]
    took_back_s: float


def shares(system: e.System, model: str, samples: list[Sample], to: str) -> list[tuple[float, float, int]]:
    """Return the wanted share, the seen share and the requests of every stage, without its first half second.

    A request belongs to the stage in which it was sent: that is when it was routed, however long its answer took.
    """
    found = []
    history = list(system.rollout(model).history)
    percents = list(system.rollout(model).policy.stages_percent)
    for event, after in pairwise(history):
        if event.phase != e.Phase.ROLLOUT_PHASE_OBSERVING or after.stage == event.stage == len(percents):
            continue
        begin, end = (at.time.ToMilliseconds() / 1000 for at in (event, after))
        mine = [s for s in samples if begin + 0.5 < s.time_s - s.latency_ms / 1000 < end - 0.1]
        if mine:
            found.append((percents[event.stage - 1] / 100, sum(s.version == to for s in mine) / len(mine), len(mine)))
    return found


def sigmas(wanted: float, seen: float, count: int) -> float:
    """Return how far a share is off, in standard deviations for its count; 0 within 1.5 points."""
    return 0.0 if abs(seen - wanted) <= 0.015 else abs(seen - wanted) / (wanted * (1 - wanted) / count) ** 0.5


def check_shares(found: list[tuple[float, float, int]]) -> None:
    """Every stage's share is within 1.5 points of its weight, or within 4 sigma for the count.

    One stage in 370 is beyond 3 sigma by chance alone; seven stages in every run would make this test fail once in fifty.
    """
    for wanted, seen, count in found:
        assert sigmas(wanted, seen, count) <= 4, (wanted, seen, count)


def bad_update(system: e.System, model: str, version: str, load: object) -> Ended:
    """Update to a version that fails long requests; return what was seen."""
    before = len(load.samples())  # type: ignore[attr-defined]
    operation = system.update(model, version, "cut64")
    with pytest.raises(RolledBackError):
        system.finish(operation, 240.0)
    rollout = system.rollout(model)
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_ROLLED_BACK
    back = next(event.time.ToMilliseconds() / 1000 for event in rollout.history if event.text.startswith("cleaning"))
    e.pause(1.0)
    samples = load.samples()[before:]  # type: ignore[attr-defined]
    failed = e.failures(samples)
    assert failed
    assert {sample.version for sample in failed} == {version}
    assert {sample.kind for sample in failed} == {"long"}
    assert all(sample.version != version for sample in samples if sample.time_s > back + 0.5)
    return Ended(samples, back - failed[0].time_s)


@pytest.fixture(scope="module")
def rolling(system: e.System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadProcesses]:
    """A model under steady traffic."""
    system.load("roll")
    traffic = e.Traffic(PROCESSES, 80.0, long_share=0.2)
    with ExitStack() as stack:
        yield e.begin_load(stack, tmp_path_factory.mktemp("roll"), system, "roll", traffic)
    system.delete("roll")


def test_a_good_update(system: e.System, rolling: LoadProcesses) -> None:
    """It fails nobody and keeps to its weights."""
    system.finish(system.update("roll", "v2", "better"), 240.0)
    e.pause(1.0)
    samples = rolling.samples()
    assert e.failures(samples) == []
    found = shares(system, "roll", samples, "v2")
    assert len(found) >= 6
    check_shares(found)


def test_a_bad_update(system: e.System, rolling: LoadProcesses) -> None:
    """It is rolled back automatically, and only its own requests failed."""
    bad_update(system, "roll", "bad", rolling)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_twenty_good_updates(system: e.System, start_load: e.MakeLoad, capsys: pytest.CaptureFixture[str]) -> None:
    """At 300 requests/s: twenty good updates fail nobody, and their stages keep to their weights."""
    system.load("soak", "v0")
    load = start_load(system, "soak", processes=PROCESSES, rate=300.0)
    found = []
    for number in range(1, 21):
        system.finish(system.update("soak", f"v{number}", "better" if number % 2 else "encoder"), 300.0)
        found += shares(system, "soak", load.samples(), f"v{number}")
        check_shares(found)
    samples = load.samples()
    assert e.failures(samples) == []
    rate = len(samples) / (samples[-1].time_s - samples[0].time_s)
    off = [sigmas(*stage) for stage in found]
    with capsys.disabled():
        print(f"\n{len(samples)} requests at {rate:.0f}/s over 20 good updates: 0 failed")  # noqa: T201 - the soak's result
        print(f"{len(off)} stages: {sum(s > 3 for s in off)} beyond 1.5 points and 3 sigma, worst {max(off):.1f} sigma")  # noqa: T201
    system.delete("soak")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_twenty_bad_updates(system: e.System, start_load: e.MakeLoad, capsys: pytest.CaptureFixture[str]) -> None:
    """At 300 requests/s: twenty bad updates come back by themselves, and nobody fails but by them; the times are printed."""
    system.load("soak", "v0")
    load = start_load(system, "soak", processes=PROCESSES, rate=300.0)
    times = [bad_update(system, "soak", f"bad{number}", load).took_back_s for number in range(20)]
    samples = load.samples()
    rate = len(samples) / (samples[-1].time_s - samples[0].time_s)
    failed = len(e.failures(samples))
    with capsys.disabled():
        print(f"\n20 bad updates at {rate:.0f}/s: {failed} of {len(samples)} requests failed, all by the bad versions")  # noqa: T201 - the soak's result
        print(f"back after {statistics.median(times):.1f} s median, {max(times):.1f} s worst")  # noqa: T201
    system.delete("soak")
