"""The streams that follow one published model, and how long each is waited for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from echoplaned.xds.names import ResourceType
from echoplaned.xds.observer import Refusal
from echoplaned.xds.stream import Stream

ROUTES_TIMEOUTS = 3.0
"""Routes are waited for as long as so many timeouts in all, whoever follows them and whatever these accept meanwhile."""

News = tuple[ResourceType, str, str]
"""What a client accepted of a model: the type, the name, and the digest of the model's share; empty where it is gone."""


class Waits(Enum):
    """Whether a follower without the newest routes is waited for."""

    YES = auto()
    FOR_OTHERS = auto()
    """Not for these routes, which are too old; for the next ones it is."""
    NO_MORE = auto()
    """Not until it has the newest ones."""


@dataclass(slots=True)
class Follower:
    """One stream that follows one model.

    Attributes:
        stream: the stream.
        had_epoch: the newest epoch that it ever had whole; None: it had none.
        waiting_since_s: when it began to wait for the newest routes, or accepted something new; None while it has them.
        waits: whether it is waited for.
        taken: what it has accepted of the newest routes while it waits.
        refusal: its refusal of the newest routes, for which they were not rolled back; None: it refuses nothing.
    """

    stream: Stream
    had_epoch: int | None = None
    waiting_since_s: float | None = None
    waits: Waits = Waits.YES
    taken: set[News] = field(default_factory=set)
    refusal: Refusal | None = None

    @property
    def stale(self) -> bool:
        """Whether it has waited for too long, and is left out."""
        return self.waits is not Waits.YES

    def has_waited(self, timeout_s: float, now_s: float) -> bool:
        """Whether it has accepted nothing new for so long."""
        return self.waiting_since_s is not None and now_s - self.waiting_since_s >= timeout_s

    def take(self, news: Iterable[News], now_s: float) -> None:
        """Note what it accepted: where any of it is new, its time begins anew.

        The same thing again is no progress: a client that asks for its listener twice a second would be waited for without end.
        """
        if self.waiting_since_s is None:
            return
        known = len(self.taken)
        self.taken.update(news)
        if len(self.taken) > known and self.waits is not Waits.NO_MORE:
            self.waiting_since_s = now_s


@dataclass(slots=True)
class Track:
    """One published model and the streams that follow it.

    Nothing is kept for models that are not published: a stream that named one is found when it is published.

    Attributes:
        epoch: the newest epoch.
        published_s: when that came.
        ack_timeout_s: how long a silent follower is waited for, in seconds.
        announced: whether the newest routes were reported as acknowledged.
        followers: every stream that follows the model.
        waiting: followers without the newest routes, stale ones included.
        stale: how many of these are stale.
    """

    epoch: int
    published_s: float
    ack_timeout_s: float
    announced: bool = False
    followers: dict[Stream, Follower] = field(default_factory=dict)
    waiting: dict[Stream, Follower] = field(default_factory=dict)
    stale: int = 0

    def begin(self, epoch: int, now_s: float) -> None:
        """Take in that newer routes were published: all are waited for but the silent."""
        self.epoch = epoch
        self.published_s = now_s
        for follower in self.waiting.values():
            follower.taken.clear()
            if follower.waits is Waits.FOR_OTHERS:
                follower.waits = Waits.YES
                self.stale -= 1

    def is_late(self, now_s: float) -> bool:
        """Whether the newest routes are so old that nobody is waited for."""
        return now_s - self.published_s >= ROUTES_TIMEOUTS * self.ack_timeout_s

    def leave_out(self, follower: Follower, waits: Waits) -> bool:
        """Wait no more for a follower that waits; return whether it was waited for."""
        was_stale = follower.stale
        if follower.waits is not Waits.NO_MORE:
            follower.waits = waits
        self.stale += not was_stale
        return not was_stale

    def stop_waiting(self, follower: Follower) -> None:
        """Take in that a follower has the newest routes."""
        self.stale -= follower.stale
        follower.waits = Waits.YES
        follower.waiting_since_s = None
        follower.taken.clear()
        follower.refusal = None
        follower.had_epoch = self.epoch
        self.waiting.pop(follower.stream, None)
