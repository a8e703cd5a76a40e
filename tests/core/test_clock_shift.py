"""A stored state under a clock that was set: in every phase the same follows, after the same time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from echoplaned.core.clock_shift import shift_times
from echoplaned.core.effects import Persist
from echoplaned.core.events import FoundEngine, Recovered, RoutesProgressed, Tick
from echoplaned.core.rollout_state import Phase
from echoplaned.core.state import InstanceState, State
from echoplaned.core.step import step
from echoplaned.testing.builders import endpoints
from echoplaned.testing.transcript import Transcript

HOUR_S = 3600.0
AWAY_S = 20.0
UP = ("reserved {0}#0 host 128", "ready {0}#0", "probes-passed {0}#0")
LINES = {
    "restarting": ("lost m/v1#0 killed",),
    "draining": ("load n v1", *(line.format("n/v1") for line in UP), "acked n", "delete n", "acked n"),
    "held": ("stuck m/v1#0 hung",),
    "held, acknowledged": ("stuck m/v1#0 hung", "acked m"),
    "preparing": ("update m v2",),
    "shifting": ("update m v2", *(line.format("m/v2") for line in UP)),
    "observing": ("update m v2", *(line.format("m/v2") for line in UP), "acked m", "acked m"),
}
LINES["soaking"] = (*LINES["observing"], "judged m PASS", "acked m", "judged m PASS")
LINES["releasing"] = (*LINES["soaking"], "tick 2")
LINES["releasing, draining"] = (*LINES["releasing"], "acked m")
LINES["reverting"] = (*LINES["observing"], "judged m FAIL")
LINES["cleaning"] = (*LINES["reverting"], "acked m")
LINES["cleaning, draining"] = (*LINES["cleaning"], "acked m")


def stored(name: str) -> Transcript:
    """Return a state as the store has it, a while after its last commit."""
    transcript = Transcript()
    transcript.now_s = 10_000.0
    transcript.prepare("m/v1 serving")
    for line in LINES[name]:
        told = transcript.play(line)
        assert not told[0].startswith("refused"), (line, told)
    return transcript


def course(state: State, now_s: float, shift_s: float) -> Iterator[object]:
    """Yield what a daemon does that starts with a state: whenever something changes, the seconds since and what it is then."""
    found = tuple(
        FoundEngine(instance.key, instance.generation, endpoints("127.0.0.1:6000"), "w1")
        for model in state.models.values()
        for version in model.versions.values()
        for instance in version.instances
        if instance.state in {InstanceState.PROBING, InstanceState.READY, InstanceState.DRAINING}
    )
    result = step(state, Recovered(now_s, found, shift_s))
    # The moved times themselves are written; nothing else may differ.
    yield 0, tuple(type(effect).__name__ for effect in result.effects if not isinstance(effect, Persist))
    state, before = result.state, None
    for second in range(0, 400, 2):
        result = step(state, Tick(now_s + second))
        state = result.state
        shown = (
            tuple(type(effect).__name__ for effect in result.effects),
            tuple(
                (
                    model.rollout and (model.rollout.phase, model.rollout.hold, model.rollout.phase_since_s - now_s),
                    tuple(
                        (i.state, (i.drain_deadline_s or now_s) - now_s)
                        for v in model.versions.values()
                        for i in v.instances
                    ),
                )
                for model in state.models.values()
            ),
        )
        if shown != before:
            yield second, shown
        before = shown


def rounded(value: object) -> object:
    """Round every number, as two sums in another order differ in their last digit."""
    if isinstance(value, tuple | list):
        return [rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("name", LINES)
def test_the_same_follows_in_every_phase(name: str, shift_s: float) -> None:
    """A clock that was put forward or back by an hour while the daemon was away changes neither what is done nor when."""
    transcript = stored(name)
    now_s = transcript.now_s + AWAY_S
    straight = list(course(transcript.state, now_s, 0.0))
    shifted = list(course(transcript.state, now_s + shift_s, shift_s))
    assert rounded(shifted) == rounded(straight)


@pytest.mark.parametrize("name", ["restarting", "reverting", "releasing, draining"])
def test_it_would_not_without_the_shift(name: str) -> None:
    """The states are such that the time of day decides: taken as it is, an hour changes what follows."""
    transcript = stored(name)
    now_s = transcript.now_s + AWAY_S
    straight = list(course(transcript.state, now_s, 0.0))
    assert rounded(list(course(transcript.state, now_s - HOUR_S, 0.0))) != rounded(straight)


def test_the_time_away_counts_on_the_way_back() -> None:
    """However often the daemon starts: the way back has one deadline."""
    transcript = stored("reverting")
    since_s, state = transcript.now_s, transcript.state
    rollout = state.models["m"].rollout
    assert rollout is not None
    for away_s in (40.0, 80.0):
        state = step(state, Recovered(since_s + away_s, _alive(state))).state
        assert state.models["m"].rollout is not None
        assert state.models["m"].rollout.phase is Phase.REVERTING
    late_s = since_s + rollout.policy.revert_timeout_s
    state = step(state, RoutesProgressed(late_s - 1.0, "m", _epoch(state), False, 0, 1)).state
    state = step(state, Tick(late_s + 0.1)).state
    assert state.models["m"].rollout is not None
    assert state.models["m"].rollout.phase is Phase.CLEANING


def test_what_happened_keeps_its_time() -> None:
    """History, creation and ends are told by the clock of their day."""
    state = stored("reverting").state
    shifted = shift_times(state, HOUR_S)
    before, after = state.models["m"].rollout, shifted.models["m"].rollout
    assert before is not None
    assert after is not None
    assert (after.history, after.create_time_s) == (before.history, before.create_time_s)
    assert after.phase_since_s == before.phase_since_s + HOUR_S
    assert shifted.operations is state.operations
    assert shift_times(state, 0.0) is state


def _alive(state: State) -> tuple[FoundEngine, ...]:
    return tuple(
        FoundEngine(instance.key, instance.generation, endpoints("127.0.0.1:6000"), "w1")
        for version in state.models["m"].versions.values()
        for instance in version.instances
    )


def _epoch(state: State) -> int:
    routes = state.models["m"].routes
    assert routes is not None
    return routes.epoch
