"""What callers saw of one restart or one death, from what the watching callers wrote down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.door_watch import SHORT, STREAM, Watched


@dataclass(frozen=True, slots=True)
class Struck:
    """When something was done to the gateway or the daemon; seconds since boot.

    ``gone_s``: when the process was killed or told to end. ``back_s``: when the new process was started; equal where none was.
    ``serving_s``: seconds that the daemon took to serve again; 0: it did not end.
    """

    gone_s: float
    back_s: float
    serving_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outage:
    """What callers saw.

    ``requests`` and ``streams``: how many there were. ``in_flight``: short requests that failed and were under way as it happened.
    ``cut``: streams that did not come to their end and had begun before. ``refused``: whatever was begun after it and failed before the
    next answer. ``later``: what failed although it was begun after that answer. ``answer_s``: from what happened to the next answer;
    ``respawn_s``: to the new process; ``after_respawn_s``: from that one to the answer.
    """

    requests: int
    streams: int
    in_flight: int
    cut: int
    refused: int
    later: int
    answer_s: float
    respawn_s: float
    after_respawn_s: float
    serving_s: float

    @property
    def lost(self) -> int:
        """Short requests that failed, whenever."""
        return self.in_flight + self.refused + self.later


def fold(seen: Sequence[Watched], struck: Struck) -> Outage:
    """Return what came of it.

    Raises:
        RuntimeError: no request was answered afterwards.
    """
    answered = [each.ended_s for each in seen if each.kind == SHORT and each.ok and each.began_s >= struck.gone_s]
    if not answered:
        raise RuntimeError("no request was answered afterwards")
    answer_s = min(answered)
    failed = [each for each in seen if not each.ok]
    before = [each for each in failed if each.began_s < struck.gone_s]
    return Outage(
        requests=sum(each.kind == SHORT for each in seen),
        streams=sum(each.kind == STREAM for each in seen),
        in_flight=sum(each.kind == SHORT for each in before),
        cut=sum(each.kind == STREAM for each in before),
        refused=sum(struck.gone_s <= each.began_s <= answer_s for each in failed),
        later=sum(each.began_s > answer_s for each in failed),
        answer_s=answer_s - struck.gone_s,
        respawn_s=struck.back_s - struck.gone_s,
        after_respawn_s=answer_s - struck.back_s,
        serving_s=struck.serving_s,
    )


def read(output: Path) -> list[Watched]:
    """Read what the callers wrote; a line that is being written is left out."""
    whole = output.read_text(encoding="utf-8").rpartition("\n")[0]
    return [Watched.read(line) for line in whole.splitlines()]


def worst(values: Iterable[float]) -> float:
    """Return the largest; 0: there is none."""
    return max(values, default=0.0)
