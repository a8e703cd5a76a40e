"""What the xDS side reports to the rest of the daemon.

It reports by calls, made on the loop that published, never from a thread.
"""

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
    """A subscriber's refusal of routes that a rollout must heed.

    Attributes:
        model: the model whose routes were refused.
        epoch: the newest epoch of its routes, which still holds what was refused.
        node: id of the client's node.
        type_url: type URL of the refused response.
        detail: the client's reason, escaped.
        names: names of the refused resources that changed after the routes that the node had.
        caller: the client, as far as it can be told from others; empty where that is not known.
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
    """A refused response from which nothing follows for a rollout.

    Attributes:
        node: id of the client's node.
        type_url: type URL of the refused response.
        detail: the client's reason, escaped.
        names: names of its resources that the node did not have before; all where it had every one.
        models: models whose routes these resources hold.
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
    """Receives what clients say over xDS.

    Every method must return at once and must not publish from within the call.
    """

    def routes_acknowledged(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """Every subscriber that is not stale has the model's newest routes.

        Called once an epoch, and again when the same epoch is published again.

        Args:
            model: name of the model.
            epoch: the epoch of these routes, the newest one.
            acknowledged: how many subscribers have them.
            subscribers: how many subscribers there are.
            stale: ids of the nodes that were left out.
        """
        ...

    def routes_progress(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """The number of subscribers with the newest routes has changed.

        Changes in quick succession are reported as one. The arguments are those of ``routes_acknowledged``.
        """
        ...

    def routes_refused(self, refusal: Refusal) -> None:
        """A subscriber that had earlier routes refused newer ones.

        It refused a response with what came after the routes of the model that it had.
        """
        ...

    def routes_held(self, model: str, epoch: int, refusals: tuple[Refusal, ...]) -> None:
        """Subscribers without traffic refuse the routes, and nobody has any.

        These refusals stand, and no other subscriber of the model has traffic; empty: none stands any more.
        """
        ...

    def subscriber_left_out(self, refusal: Refusal) -> None:
        """A subscriber without traffic is left out, as it refused the routes.

        It refused what others, who have some traffic, accepted or did not answer yet.
        """
        ...

    def nack_recorded(self, nack: Nack) -> None:
        """A response was refused in a way from which nothing follows."""
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
    """Counts of one resource type since the daemon started.

    Attributes:
        type: the resource type.
        pushes: responses that were sent, from 0.
        acks: responses that were accepted, from 0.
        nacks: responses that were refused, from 0.
    """

    type: ResourceType
    pushes: int
    acks: int
    nacks: int


@dataclass(frozen=True, slots=True)
class XdsStats:
    """Counts of ADS for metrics.

    Attributes:
        streams_open: ADS streams that are open now.
        streams_opened: ADS streams that were opened since the daemon started.
        by_type: counts of each resource type, in the order of ``ResourceType``.
    """

    streams_open: int
    streams_opened: int
    by_type: tuple[TypeStats, ...]


@dataclass(frozen=True, slots=True)
class SubscriberView:
    """One ADS stream as diagnostics show it.

    Attributes:
        node: id of the client's node.
        agent: the client's ``user_agent_name``; may be empty.
        delta: whether the stream speaks the delta protocol, rather than state of the world.
        models: names of the models whose routes it follows, sorted.
        stale: whether it is stale for any model.
        refusals: type URL and detail of what it refuses at present.
    """

    node: str
    agent: str
    delta: bool
    models: tuple[str, ...]
    stale: bool
    refusals: tuple[tuple[str, str], ...]
