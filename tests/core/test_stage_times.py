"""How long a stage lasts: at least its minimum, and long enough after it for a verdict, whatever its maximum says."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from echoplaned.core.rollout_state import Phase, Rollout
from echoplaned.core.spec import DECIDING_S, RolloutPolicy
from echoplaned.testing.transcript import Transcript


def observed(policy: RolloutPolicy) -> Transcript:
    """Return a rollout whose first stage, of 50 %, has just begun to be observed."""
    transcript = Transcript()
    transcript.prepare("m/v1 serving")
    transcript.prepare("m/v2 observed")
    model = transcript.state.models["m"]
    assert model.rollout is not None
    placed = replace(model, rollout=replace(model.rollout, policy=policy))
    transcript.state = replace(transcript.state, models=MappingProxyType({"m": placed}))
    return transcript


def rollout_of(transcript: Transcript) -> Rollout:
    """Return the rollout that is under way."""
    found = transcript.state.models["m"].rollout
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("shortest_s", "longest_s", "extended", "may_pass_s"),
    [(60.0, 60.0, (), 60.0), (60.0, 90.0, (50,), 120.0), (700.0, 600.0, (), 700.0)],
)
def test_a_stage_may_pass_before_it_expires(
    shortest_s: float, longest_s: float, extended: tuple[int, ...], may_pass_s: float
) -> None:
    """A tick at the minimum ends nothing, and the verdict that comes then passes the stage; without one it expires soon."""
    policy = RolloutPolicy(
        stages_percent=(50, 100),
        extended_stages_percent=extended,
        stage_min_s=shortest_s,
        stage_max_s=longest_s,
    )
    transcript = observed(policy)
    transcript.play("judged m HOLD")
    transcript.play(f"tick {may_pass_s}")
    assert rollout_of(transcript).phase is Phase.OBSERVING
    undecided = replace(transcript.state)
    transcript.play("judged m PASS")
    assert (rollout_of(transcript).phase, rollout_of(transcript).stage) == (Phase.SHIFTING, 2)
    transcript.state = undecided
    transcript.play(f"tick {DECIDING_S}")
    assert rollout_of(transcript).phase is Phase.REVERTING


def test_a_maximum_with_room_for_the_minimum_is_the_maximum() -> None:
    """The standard policy's 600 s stay 600 s in every stage."""
    policy = RolloutPolicy()
    assert {policy.longest_s(stage) for stage in range(1, 8)} == {600.0}
    assert [policy.minimum_s(stage) for stage in range(1, 8)] == [5.0, 5.0, 5.0, 10.0, 5.0, 10.0, 5.0]
