"""Whose behaviour is compared, and by which margin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.contexts import served_context
from echoplaned.core.facts import Task
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.spec import BehaviourChange, EchoPolicy, ServingShape
from echoplaned.core.state import Model
from echoplaned.engine_kinds import KINDS
from echoplaned.engine_kinds.configured import declared_name
from echoplaned.gates.echo import margins
from echoplaned.gates.echo.features import Network
from echoplaned.gates.echo.paired import DistanceMeasure

_CHAT_TEMPLATE: Final = "chat_template"
_OWN: Final = "the checkpoint's own template"


@dataclass(frozen=True, slots=True)
class EchoSubject:
    """What is compared in a rollout, and how.

    Attributes:
        policy: the rollout's policy for the echo gate.
        change: what was declared of the update.
        task: what both versions are served for.
        confidence: confidence of passing.
        text_count: golden texts that can be scored; 0 for none.
        why_not: why texts cannot be scored; empty: nothing speaks against it.
        int8_baseline: how far the old version is from itself in INT8; None where that is not known.
        why_default: why it is not known; empty: no measurement has failed.
        network: the old version's reservoir.
        rendering: how chats are put into words otherwise than before, which no golden text shows; empty: nothing says that they are.
        shortening: how much shorter a request must be than before; empty: it need not be.
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
    rendering: str = ""
    shortening: str = ""

    def margin(self, measure: DistanceMeasure) -> tuple[float, str]:
        """Return the margin in a measure's unit, and where it comes from."""
        return margins.margin_of(self.policy, measure, self.int8_baseline, self.why_default)

    @property
    def scorable(self) -> bool:
        """Whether anything can have texts scored."""
        return self.text_count > 0

    @property
    def measures_margin(self) -> bool:
        """Whether the margin is to be measured on the old version.

        The policy leaves it open, and it was not measured before.
        """
        return self.scorable and self.int8_baseline is None and margins.is_open(self.policy, self.task)


def subject_of(model: Model, rollout: Rollout, text_count: int | None, *, has_traces: bool) -> EchoSubject | None:
    """Return whose behaviour is to be judged.

    None where the policy, or the lack of any source, says nobody's.

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
        rendering=_rendering(old.spec.shape, new.spec.shape),
        shortening=_shortening(served_context(old), served_context(new)),
    )


def _rendering(old: ServingShape, new: ServingShape) -> str:
    """Say which chat templates were asked for, where they differ.

    Of engines of one kind alone: what another kind calls a template need not be another one.
    """
    kinds = [declared_name(shape.engine, KINDS) for shape in (old, new)]
    if kinds[0] is not kinds[1]:
        return ""
    was, now = (dict(shape.options).get(_CHAT_TEMPLATE, "") or _OWN for shape in (old, new))
    return "" if was == now else f"chats are rendered by {now} and were by {was}, which no golden text goes through"


def _shortening(was: int, now: int) -> str:
    """Say which contexts the versions have, in tokens, where the new one's is shorter."""
    return "" if now >= was else f"its context is {now} tokens and was {was}, so that longer requests fail"
