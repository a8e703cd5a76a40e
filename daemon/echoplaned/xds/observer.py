"""What the traffic part tells the rest of the daemon: calls, made on the loop that published, never from a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import Caller, Reporter
from echoplaned.xds.names import ResourceType

MAX_NODE_CHARACTERS = 200
"""What is kept of a client's id."""

NOBODY = Caller("")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that a rollout must heed. ``names``: of the refused resources that changed after the routes that the node had.

    ``epoch``: the newest, which still holds what was refused. ``caller``: the node, as far as it can be told from others.
    """

    model: str
    epoch: int
    node: str
    type_url: str
    detail: str
    names: frozenset[str]
    caller: Caller = NOBODY


@dataclass(frozen=True, slots=True)
class Nack:
    """A response that was refused in any other way. ``names``: its resources that the node did not have before.

    ``models``: whose routes these resources hold.
    """

    node: str
    type_url: str
    detail: str
    names: frozenset[str]
    models: frozenset[str]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One client's requests to one version over an interval.

    Attributes:
        version: whose requests they are.
        reporter: the client's stream of reports.
        counts: the requests; ``in_flight`` at the interval's end, the rest during it.
        interval_s: its length in seconds.
    """

    version: VersionKey
    reporter: Reporter
    counts: RequestCounts
    interval_s: float


class XdsObserver(Protocol):
    """Receives what clients say. Every method must return at once and must not publish from within the call."""

    def routes_acknowledged(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """Every subscriber of the model that is not stale has the routes of this epoch, the newest one.

        Called once an epoch, and again when the same epoch is published again. ``stale``: nodes that were left out.
        """
        ...

    def routes_progress(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """So many subscribers have the newest routes by now; changes in quick succession are told as one."""
        ...

    def routes_refused(self, refusal: Refusal) -> None:
        """A subscriber that had earlier routes of the model refused a response with what came after them."""
        ...

    def routes_held(self, model: str, epoch: int, refusals: tuple[Refusal, ...]) -> None:
        """These refusals stand, of subscribers without traffic, and no other subscriber of the model has any; empty: none does."""
        ...

    def subscriber_left_out(self, refusal: Refusal) -> None:
        """A subscriber without traffic refused what others, who have some, accepted or did not answer yet: it is left out."""
        ...

    def nack_recorded(self, nack: Nack) -> None:
        """A response was refused in any other way; nothing follows from it."""
        ...

    def subscribers_changed(self, model: str, count: int) -> None:
        """So many streams follow the model's routes now."""
        ...

    def load_report(self, report: LoadReport) -> None:
        """One client's counts for one version over an interval."""
        ...

    def load_stream_ended(self, reporter: Reporter) -> None:
        """No report comes any more on this stream."""
        ...


@dataclass(frozen=True, slots=True)
class TypeStats:
    """Counts of one resource type since the daemon started."""

    type: ResourceType
    pushes: int
    acks: int
    nacks: int


@dataclass(frozen=True, slots=True)
class XdsStats:
    """Counts for metrics. ``streams_open``: ADS streams now; ``streams_opened``: since the daemon started."""

    streams_open: int
    streams_opened: int
    by_type: tuple[TypeStats, ...]


@dataclass(frozen=True, slots=True)
class SubscriberView:
    """One ADS stream as diagnostics show it. ``refusals``: type URL and detail of what it refuses at present."""

    node: str
    agent: str
    delta: bool
    models: tuple[str, ...]
    stale: bool
    refusals: tuple[tuple[str, str], ...]
