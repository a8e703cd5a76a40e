"""Whose fault each failed request of a rollout is, and how long routes took to be acknowledged, from what was written down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.door.versions import Candidate
from benchmarks.peers.door_mixed import CHATTING, DEADLINE_S, Mixed
from echoplane.v1 import rollouts_pb2
from echoplaned.testing.loadgen import Sample

XDS = "native xDS"
_BEGINS = frozenset({"published", "reverting"})
_ENDS = frozenset({"acknowledged", "cleaning"})


@dataclass(frozen=True, slots=True)
class Ended:
    """One rollout as it ended.

    ``struck_s``: when its new version was killed or stopped, seconds since the epoch; 0: it was not. ``back_s``: when the old version had
    the traffic again by everybody's acknowledgement, or the rollout ended; ``acknowledged_s``: seconds from each change of routes to the
    last acknowledgement.
    """

    candidate: Candidate
    outcome: str
    reason: str
    seconds: float
    struck_s: float
    back_s: float
    acknowledged_s: tuple[float, ...]

    @property
    def as_it_must(self) -> bool:
        """Whether a good version serves and a bad one was taken back, with a reason."""
        if self.candidate.fault:
            return self.outcome == "ROLLED_BACK" and bool(self.reason)
        return self.outcome == "SUCCEEDED"

    def line(self) -> str:
        """Write it for people."""
        slowest = max(self.acknowledged_s, default=0.0)
        about = f"{self.candidate.model}/{self.candidate.version} {self.candidate.fault or 'good'}"
        return f"{about:32} {self.outcome:12} {self.seconds:6.1f} s, routes within {slowest:.2f} s  {self.reason}"


@dataclass(frozen=True, slots=True)
class Blame:
    """Failed requests by whose fault they are.

    ``bad``: answered by a bad version. ``struck``: begun before the routes had left a version that was killed or stopped, and answered by
    nobody: what was under way in it, and sent to it. ``others``: everything else, which must not be.
    """

    bad: tuple[Mixed, ...]
    struck: tuple[Mixed, ...]
    others: tuple[Mixed, ...]

    @property
    def cut(self) -> int:
        """Streams that had begun to be answered and ended before their deadline, and not by a bad version."""
        begun = (each for each in self.others if each.kind == CHATTING and each.version)
        return sum(each.ended_s - each.began_s < DEADLINE_S and not each.outcome[0].isdigit() for each in begun)


def as_mixed(samples: Iterable[Sample], model: str) -> Iterator[Mixed]:
    """Return what native clients wrote in the form of the others."""
    for each in samples:
        outcome = "ok" if each.ok else f"{each.code} {each.detail}"
        yield Mixed(XDS, model, each.time_s - each.latency_ms / 1000, each.time_s, each.version, outcome)


def blame(seen: Iterable[Mixed], ended: Sequence[Ended]) -> Blame:
    """Sort the failed requests."""
    faulty = {(each.candidate.model, each.candidate.version) for each in ended if each.candidate.fault}
    bad, struck, others = [], [], []
    for each in seen:
        if each.ok:
            continue
        if (each.model, each.version) in faulty:
            bad.append(each)
        elif not each.version and any(_was_under_way(each, one) for one in ended):
            struck.append(each)
        else:
            others.append(each)
    return Blame(tuple(bad), tuple(struck), tuple(others))


def _was_under_way(request: Mixed, ended: Ended) -> bool:
    if not ended.struck_s or request.model != ended.candidate.model:
        return False
    return ended.struck_s - DEADLINE_S <= request.began_s <= ended.back_s and request.ended_s >= ended.struck_s


def acknowledgements_s(history: Sequence[rollouts_pb2.RolloutEvent]) -> tuple[float, ...]:
    """Return the seconds from each verdict that changed the routes to the last subscriber's acknowledgement.

    A change that another one overtook is measured to the next acknowledgement all the same.
    """
    taken, begun_ms = [], None
    for event in history:
        at_ms = event.time.ToMilliseconds()
        if event.kind in _BEGINS:
            begun_ms = at_ms
        elif event.kind in _ENDS and begun_ms is not None:
            taken.append((at_ms - begun_ms) / 1000)
            begun_ms = None
    return tuple(taken)


def back_s(history: Sequence[rollouts_pb2.RolloutEvent]) -> float:
    """Return when the new version was out of the routes, or the rollout was over."""
    times = [event.time.ToMilliseconds() / 1000 for event in history if event.kind == "cleaning"]
    return times[0] if times else history[-1].time.ToMilliseconds() / 1000
