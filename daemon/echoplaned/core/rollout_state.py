"""The state of a rollout: phase, stage, what the gates said, and history."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from echoplaned.core.behaviour import BehaviourReport
from echoplaned.core.failure import FailureDetail
from echoplaned.core.spec import BehaviourChange, RolloutPolicy

SUBSCRIBERS_NAMED = 20
"""So many subscribers are named that did not answer; all are counted. Node ids are free text, and there may be thousands."""


class Phase(StrEnum):
    """A rollout's phase; see ``tables.ROLLOUT_TABLE``."""

    PREPARING = "PREPARING"
    SHIFTING = "SHIFTING"
    OBSERVING = "OBSERVING"
    SOAKING = "SOAKING"
    RELEASING = "RELEASING"
    REVERTING = "REVERTING"
    CLEANING = "CLEANING"
    SUCCEEDED = "SUCCEEDED"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    DELETED = "DELETED"


HISTORY_RETAINED = 1000
"""Lines of a rollout's history that are kept, the newest: who pauses and resumes without end fills no memory."""

TERMINAL_PHASES = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED, Phase.DELETED})
FORWARD_PHASES = frozenset({Phase.PREPARING, Phase.SHIFTING, Phase.OBSERVING, Phase.SOAKING})
"""Phases in which a caller can pause a rollout: from RELEASING on, and on the way back, nothing waits for anybody."""


class GateVerdict(StrEnum):
    """What a gate says of a stage."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    HOLD = "HOLD"
    FAIL = "FAIL"


class Evidence(StrEnum):
    """Where a verdict's counts come from."""

    LIVE = "LIVE"
    PROBES = "PROBES"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate's verdict on one stage.

    Attributes:
        gate: name of the gate.
        verdict: PASS, HOLD or FAIL.
        reason: why, in one sentence with its numbers.
        confidence: confidence of the statement, in [0, 1]; 0: no evidence.
        counts: named totals behind it, for example requests and errors by version.
        evidence: where the counts come from.
        behaviour: what the gate ``echo`` measured; None: another gate, or nothing was measured.
    """

    gate: str
    verdict: GateVerdict
    reason: str
    confidence: float = 0.0
    counts: tuple[tuple[str, int], ...] = ()
    evidence: Evidence = Evidence.LIVE
    behaviour: BehaviourReport | None = None


class Hold(StrEnum):
    """Why a rollout stays where it is.

    Beside it stands a text for people, which nothing is decided by.
    """

    GATES = "GATES"
    """A gate says HOLD, or has not been heard."""
    EXPIRED = "EXPIRED"
    """The stage's time is over, and its policy says that it waits for a person."""
    OLD_LOST = "OLD_LOST"
    BOTH_LOST = "BOTH_LOST"
    ADAPTER_FAILED = "ADAPTER_FAILED"
    """The routes cannot be published."""
    REFUSED_BY_IDLE = "REFUSED_BY_IDLE"
    """Subscribers refuse the routes, and none of the model's has any traffic that would make its word count."""


class EntryKind(StrEnum):
    """What a line of a rollout's history records.

    MOVED: the rollout came into the phase of the line.
    """

    MOVED = "MOVED"
    CREATED = "CREATED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    PROMOTED = "PROMOTED"
    HELD = "HELD"


@dataclass(frozen=True, slots=True)
class RolloutEntry:
    """One line of a rollout's append-only history.

    Attributes:
        sequence: place in the history, from 1, without gaps; the first ones may be forgotten.
        time_s: when it happened, seconds since the epoch.
        phase: phase after it.
        stage: stage after it, from 1; 0: before the first.
        text: what happened, for people.
        verdicts: the verdicts behind it; empty: none.
        kind: what it tells.
    """

    sequence: int
    time_s: float
    phase: Phase
    stage: int
    text: str
    verdicts: tuple[Verdict, ...] = ()
    kind: EntryKind = EntryKind.MOVED


@dataclass(frozen=True, slots=True)
class Rollout:
    """One update of a model. Times in seconds since the epoch.

    Attributes:
        rollout_id: id of the rollout, unique within the model.
        model: id of the model.
        from_version: id of the version that serves at the start.
        to_version: id of the version that is rolled out.
        policy: how it is paced and judged.
        operation_id: id of the update's operation.
        behaviour_change: what the caller said of the new version's behaviour.
        phase: where it is.
        stage: from 1 to ``len(policy.stages_percent)``; 0: before the first.
        cluster_acknowledged: whether the new cluster was acknowledged at weight 1 before its first share (a gRPC client asks for a
            cluster only after a route named it).
        evidence_window: rises whenever evidence starts anew; a verdict for an older one is stale.
        paused: whether a caller stopped it from going on.
        hold: why it stays where it is; None: it does not. Observed: after a start it is found out anew.
        held_reason: the same for people, and observed as well; empty: it does not stay.
        create_time_s: when it was asked for.
        phase_since_s: when the phase's time began to count.
        observe_since_s: when this window's observation began; None: it has not.
        end_time_s: when it ended; None: it is under way.
        outcome: terminal phase that CLEANING leads to; None: not decided.
        ending: why it did not succeed; None: nothing speaks against it.
        verdicts: the newest verdict of each gate on this window; observed.
        history: everything that happened, oldest first.
        stale_subscribers: names of subscribers that did not answer in time, the first ``SUBSCRIBERS_NAMED``; observed.
        stale_subscriber_count: how many did not, from 0; observed.
    """

    rollout_id: str
    model: str
    from_version: str
    to_version: str
    policy: RolloutPolicy
    operation_id: str
    behaviour_change: BehaviourChange = BehaviourChange.UNSPECIFIED
    phase: Phase = Phase.PREPARING
    stage: int = 0
    cluster_acknowledged: bool = False
    evidence_window: int = 0
    paused: bool = False
    hold: Hold | None = None
    held_reason: str = ""
    create_time_s: float = 0.0
    phase_since_s: float = 0.0
    observe_since_s: float | None = None
    end_time_s: float | None = None
    outcome: Phase | None = None
    ending: FailureDetail | None = None
    verdicts: tuple[Verdict, ...] = ()
    history: tuple[RolloutEntry, ...] = ()
    stale_subscribers: tuple[str, ...] = ()
    stale_subscriber_count: int = 0
