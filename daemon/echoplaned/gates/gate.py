"""The one Protocol of all gates, and the values that go in and come out.

A gate is pure: it does no I/O, and its evidence is an immutable value that the caller keeps. What a gate wants done it says as an
``Ask``; a collector (``collector.Collector``) does it and adds what it found to the next ``Observation``. So gates run in any thread,
and whether they are asked again or in another process changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from echoplaned.core.rollout_state import Rollout, Verdict
from echoplaned.core.state import Model
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval

EvidenceT = TypeVar("EvidenceT")
PartT = TypeVar("PartT")


class Need(StrEnum):
    """A source that an engine may lack."""

    ARRIVALS = "ARRIVALS"
    ERRORS = "ERRORS"
    HISTOGRAMS = "HISTOGRAMS"
    TRACES = "TRACES"


@dataclass(frozen=True, slots=True)
class Lack:
    """A need that a version's engines do not meet.

    Attributes:
        need: what they lack.
        version: id of the version.
        source: name of the source that has it from the engines.
        replaced: whether another source reports the same.
    """

    need: Need
    version: str
    source: str
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A source of request counts.

    Attributes:
        name: as verdicts name it.
        tells_client_errors: whether it tells callers' mistakes from server errors.
        routed: whether it sees exactly the traffic that the routes steer; it is told by callers, and may end when they please.
        reporting: whether it has counted this model before, so that its counts are asked for.
    """

    name: str
    tells_client_errors: bool
    routed: bool
    reporting: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """What a rollout's evidence begins with.

    Attributes:
        window: the first one, or the first after a restart.
        sources: of request counts.
        model: the model as it was then.
        rollout: the rollout as it was then.
    """

    window: Window
    sources: tuple[Source, ...]
    model: Model
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class Observation:
    """What one interval brought.

    Attributes:
        now_s: its end, seconds since the epoch.
        intervals: request counts by source name: of each conversation the first request in the window.
        weight: the new version's acknowledged share in [0, 1]; None: not acknowledged by everybody.
        subscribers: streams that follow the model's routes.
        stale_subscribers: of these, silent ones.
        pairs: paired probes that were answered.
        parts: what single gates observe beside these, one value a type.
        lacks: what the versions' engines do not report.
        left_out: sources that are not believed from here on, and why.
        draws: like ``intervals``, without conversations that the rollout has counted before; None: there are none.
        requests: like ``intervals``, with every request; None: there are no conversations.
        held_s: how long ``intervals`` and ``draws`` were held back, in seconds: they are of so long ago.
    """

    now_s: float
    intervals: tuple[tuple[str, Interval], ...] = ()
    weight: float | None = None
    subscribers: int = 0
    stale_subscribers: int = 0
    pairs: tuple[PairOutcome, ...] = ()
    parts: tuple[object, ...] = ()
    lacks: tuple[Lack, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    draws: tuple[tuple[str, Interval], ...] | None = None
    requests: tuple[tuple[str, Interval], ...] | None = None
    held_s: float = 0.0

    @property
    def all_requests(self) -> tuple[tuple[str, Interval], ...]:
        """Counts of every request by source name, of those of conversations too."""
        return self.intervals if self.requests is None else self.requests

    def draws_of(self, name: str) -> Interval:
        """Return a source's counts of requests that are independent over a rollout."""
        return _of(name, self.intervals if self.draws is None else self.draws)

    def requests_of(self, name: str) -> Interval:
        """Return a source's counts of every request."""
        return _of(name, self.all_requests)

    def interval(self, name: str) -> Interval:
        """Return a source's counts; nothing for a source that did not report."""
        return _of(name, self.intervals)

    def lacks_from(self, source: str, need: Need) -> bool:
        """Whether a source's counts say nothing of a need: unset is not zero."""
        return any(lack.source == source and lack.need is need for lack in self.lacks)

    def why_left_out(self, source: str) -> str:
        """Return why a source is not believed; empty: it is."""
        return next((why for name, why in self.left_out if name == source), "")

    def part(self, kind: type[PartT]) -> PartT | None:
        """Return the part of a type; None where nothing of it was collected."""
        return next((part for part in self.parts if isinstance(part, kind)), None)


def _of(name: str, counts: tuple[tuple[str, Interval], ...]) -> Interval:
    return next((interval for source, interval in counts if source == name), Interval())


@dataclass(frozen=True, slots=True)
class Ask:
    """Something that a gate wants done.

    Each collector takes the types that it knows.

    Attributes:
        decides: whether it serves the window's verdict alone, so that it is void where that is clear or not asked for.
    """

    decides: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class JudgeProbes(Ask):
    """Asks that paired probes have a say in this window.

    It is asked by a gate of those after it in the list.
    """

    decides: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class MakePairs(Ask):
    """Asks for further paired probes.

    Attributes:
        row: pairs that the new version has answered in a row.
        needed: how many of them a window needs.
    """

    row: int
    needed: int
    decides: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """When a window is judged.

    Attributes:
        now_s: seconds since the epoch.
        asked: what the gates before this one in the list ask for.
    """

    now_s: float
    asked: tuple[Ask, ...] = ()

    @property
    def judges_probes(self) -> bool:
        """Whether another gate wants paired probes to have a say."""
        return any(isinstance(ask, JudgeProbes) for ask in self.asked)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a gate says of a window.

    Attributes:
        verdict: None where it has no say.
        asks: what it wants done.
    """

    verdict: Verdict | None = None
    asks: tuple[Ask, ...] = ()


class Gate(Protocol[EvidenceT]):
    """One gate, which judges a rollout by its evidence.

    Its evidence lasts for the whole rollout and is never changed in place.
    """

    @property
    def name(self) -> str:
        """The gate's name, which its verdicts carry."""
        ...

    def needs(self) -> frozenset[Need]:
        """Return what the gate cannot judge without.

        Where any of it is missing, the gate abstains.
        """
        ...

    def begin(self, start: Start) -> EvidenceT | None:
        """Begin a rollout's evidence with its first window.

        None: the gate has no say in this rollout.
        """
        ...

    def enter(self, evidence: EvidenceT, window: Window) -> EvidenceT:
        """Go on with another window."""
        ...

    def observe(self, evidence: EvidenceT, seen: Observation) -> EvidenceT:
        """Add what an interval brought."""
        ...

    def judge(self, evidence: EvidenceT, moment: JudgeContext) -> Judgement:
        """Say what the evidence means for the window."""
        ...


class EvidenceUnreadableError(ValueError):
    """Bytes are not evidence that this daemon writes."""


@runtime_checkable
class PersistentGate(Gate[EvidenceT], Protocol[EvidenceT]):
    """A gate whose evidence outlives the daemon.

    There is one file a rollout, so the list has at most one such gate.
    """

    def durable(self, evidence: EvidenceT) -> object:
        """Return the part of the evidence that outlives the daemon.

        It is the same object as long as it is unchanged.
        """
        ...

    def encode(self, evidence: EvidenceT) -> bytes:
        """Write that part."""
        ...

    def restore(self, evidence: EvidenceT, content: bytes, window: Window) -> EvidenceT:
        """Go on with what an earlier daemon wrote, in place of what was begun.

        Raises:
            EvidenceUnreadableError: it is damaged, or of another format.
        """
        ...
