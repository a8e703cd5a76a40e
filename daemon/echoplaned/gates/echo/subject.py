"""Whose behaviour is compared, and by which margin."""

from __future__ import annotations

from dataclasses import dataclass, field

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.facts import Task
from echoplaned.core.spec import BehaviourChange, EchoPolicy
from echoplaned.core.state import Model, Rollout
from echoplaned.gates.echo import margins
from echoplaned.gates.echo.features import Network
from echoplaned.gates.echo.paired import DistanceMeasure


@dataclass(frozen=True, slots=True)
class EchoSubject:
    """What is compared.

    Attributes:
        policy: the rollout's.
        change: what was declared of the update.
        task: what both versions are served for.
        confidence: of passing.
        text_count: golden texts that can be scored; 0 for none.
        why_not: why none can be.
        int8_baseline: how far the old version is from itself in INT8; None where that is not known.
        why_default: why it is not known.
        network: the old version's reservoir.
    """

    policy: EchoPolicy
    change: BehaviourChange
    task: Task
    confidence: float
    text_count: int = 0
    why_not: str = ""
    int8_baseline: Int8Baseline | None = None
    why_default: str = ""
    network: Network = field(default_factory=Network)

    def margin(self, measure: DistanceMeasure) -> tuple[float, str]:
        """Return the margin in a measure's unit, and where it comes from."""
        return margins.margin_of(self.policy, measure, self.int8_baseline, self.why_default)

    @property
    def scorable(self) -> bool:
        """Whether anything can have texts scored."""
        return self.text_count > 0

    @property
    def measures_margin(self) -> bool:
        """Whether the margin is to be measured on the old version: the policy leaves it open, and it was not measured before."""
        return self.scorable and self.int8_baseline is None and margins.is_open(self.policy, self.task)


def subject_of(model: Model, rollout: Rollout, text_count: int | None, *, has_traces: bool) -> EchoSubject | None:
    """Return whose behaviour is to be judged; None where the policy, or the lack of any source, says nobody's.

    ``text_count``: golden texts that there are; None: nothing has texts scored.
    """
    policy = rollout.policy.echo
    new, old = model.versions.get(rollout.to_version), model.versions.get(rollout.from_version)
    if not policy.enabled or new is None or old is None or (text_count is None and not has_traces):
        return None
    why_not = ""
    if text_count is None:
        why_not = "nothing scores golden texts"
    elif new.facts.task is not old.facts.task:
        why_not = f"the versions serve different tasks ({old.facts.task.value}, {new.facts.task.value})"
    return EchoSubject(
        policy,
        rollout.behaviour_change,
        task=new.facts.task if not why_not else Task.GENERATION,
        confidence=rollout.policy.confidence,
        text_count=0 if text_count is None or why_not else text_count,
        why_not=why_not,
        int8_baseline=old.int8_baseline,
        network=Network.of(old.plan.reservoir),
    )
