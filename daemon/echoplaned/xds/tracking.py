"""Which subscriber has which routes, as the rollout needs to know them.

Routes are acknowledged, refused, or stale at a subscriber.

A model's routes are acknowledged when every subscriber has them that is not stale. A subscriber is stale when it has
been without the newest routes for the acknowledgement's timeout and has accepted nothing new of this model meanwhile; or,
whatever it accepts and however often it comes anew, when these routes are older than three times that timeout.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from echoplaned.ports.traffic import Caller
from echoplaned.xds.followers import Follower, News, Track, Waits
from echoplaned.xds.names import ResourceType
from echoplaned.xds.observer import Nack, Refusal
from echoplaned.xds.resources import Resource
from echoplaned.xds.snapshot import Snapshot
from echoplaned.xds.stream import Stream, StreamReply


@dataclass(frozen=True, slots=True)
class AckProgress:
    """How far the newest routes of a model have come.

    Attributes:
        model: name of the model.
        epoch: the epoch of its newest routes.
        acknowledged: subscribers that have these routes, from 0.
        subscribers: streams that follow the model, from 0.
        stale: node ids of those that are stale, sorted.
    """

    model: str
    epoch: int
    acknowledged: int
    subscribers: int
    stale: tuple[str, ...]


class Tracker:
    """Tracks which stream has which model's routes.

    What happened is collected until the ``take_`` methods hand it out.
    """

    def __init__(self, ack_timeout_s: float) -> None:
        self._ack_timeout_s = ack_timeout_s
        self._tracks: dict[str, Track] = {}
        self._followed: dict[Stream, set[str]] = {}
        self._gateways: set[Stream] = set()
        self._acknowledged: dict[str, None] = {}
        self._progressed: set[str] = set()
        self._counted: set[str] = set()

    def on_published(self, model: str, epoch: int, now_s: float, ack_timeout_s: float | None = None) -> None:
        """Take a model's newest epoch in: followers that lack any of it begin to wait.

        ``ack_timeout_s``: how long, until they are stale; None: as long as those of any other model.
        """
        track = self._tracks.get(model)
        if track is None:
            track = self._tracks[model] = Track(epoch, now_s, self._ack_timeout_s)
            for stream, followed in self._followed.items():
                if stream in self._gateways or stream.names_model(model):
                    followed.add(model)
                    self._add(track, model, stream)
        if track.epoch != epoch:
            track.begin(epoch, now_s)
        track.ack_timeout_s = self._ack_timeout_s if ack_timeout_s is None else ack_timeout_s
        track.announced = False
        for follower in track.followers.values():
            follower.refusal = None
        for follower in track.followers.values():
            self._update_follower(track, model, follower, now_s)
        self._judge(track, model)

    def on_removed(self, model: str) -> None:
        """Take in that a model is gone without an epoch of its own.

        Nothing is announced for it, and nothing of it is kept.
        """
        track = self._tracks.pop(model, None)
        if track is not None:
            for stream in track.followers:
                self._followed[stream].discard(model)
            if track.followers:
                self._counted.add(model)

    def on_subscribed(self, stream: Stream, now_s: float) -> None:
        """Take in that a stream changed its subscriptions.

        It may follow other models now, and may have lost some of what it had of them.
        """
        if stream.is_gateway:
            self._gateways.add(stream)
            models = set(self._tracks)
        else:
            self._gateways.discard(stream)
            models = stream.models(self._tracks.keys())
        before = self._followed.get(stream, set())
        self._followed[stream] = models
        for model in before - models:
            self._remove(model, stream)
        for model in models:
            track = self._tracks[model]
            follower = track.followers.get(stream) or self._add(track, model, stream)
            self._update_follower(track, model, follower, now_s)
            self._judge(track, model)

    def on_left(self, stream: Stream) -> None:
        """Take in that a stream ended."""
        self._gateways.discard(stream)
        for model in self._followed.pop(stream, set()):
            self._remove(model, stream)

    def on_accepted(self, stream: Stream, reply: StreamReply, now_s: float) -> None:
        """Take in that a stream accepted a push."""
        if reply.push is None:
            return
        followed = self._followed.get(stream, set())
        news = _news(reply.type, reply.push.knowledge, reply.before or {}, followed)
        for model in followed if reply.type is ResourceType.LISTENER else news.keys():
            track = self._tracks[model]
            follower = track.followers[stream]
            follower.take(news.get(model, ()), now_s)
            self._update_follower(track, model, follower, now_s)
            self._judge(track, model)

    def on_refused(self, stream: Stream, reply: StreamReply, snapshot: Snapshot) -> list[Refusal]:
        """Return the refusals that a refused push means for the followed models.

        Empty: there is nothing to do but to record it.
        """
        if reply.push is None:
            return []
        names: dict[str, set[str]] = {}
        for resource in reply.push.resources:
            before = (reply.before or {}).get(resource.name)
            for model in resource.parts.keys() & self._followed.get(stream, set()):
                if self._is_news(stream, model, resource, before, snapshot):
                    names.setdefault(model, set()).add(resource.name)
        return [
            Refusal(
                model,
                self._tracks[model].epoch,
                stream.node.id,
                str(reply.type),
                reply.detail,
                frozenset(changed),
                stream.node.caller,
            )
            for model, changed in names.items()
        ]

    def retain_refusal(self, stream: Stream, refusal: Refusal) -> None:
        """Note a refusal that rolls nothing back.

        It stands until the stream has the routes, or others are published.
        """
        self._tracks[refusal.model].followers[stream].refusal = refusal

    def standing_refusals(self) -> dict[str, list[Refusal]]:
        """Return the refusals that stand, by model."""
        found: dict[str, list[Refusal]] = {}
        for model, track in self._tracks.items():
            # Who refuses the routes has not got them.
            refusals = [each.refusal for each in track.waiting.values() if each.refusal is not None]
            if refusals:
                found[model] = refusals
        return found

    def callers(self, model: str) -> list[Caller]:
        """Return who follows a model."""
        track = self._tracks.get(model)
        return [each.node.caller for each in track.followers] if track is not None else []

    def withdraw_refusal(self, refusal: Refusal, *, stale: bool) -> None:
        """Take a refusal off those that stand.

        Args:
            refusal: one of ``standing_refusals``.
            stale: whether its streams are left out at once, like silent ones.
        """
        track = self._tracks[refusal.model]
        for follower in track.waiting.values():
            if follower.refusal is refusal:
                follower.refusal = None
                if stale:
                    self._leave_out(track, refusal.model, follower, Waits.NO_MORE)
        self._judge(track, refusal.model)

    def expire(self, now_s: float) -> None:
        """Call those stale that have waited for too long."""
        for model, track in self._tracks.items():
            late = track.is_late(now_s)
            for follower in track.waiting.values():
                if follower.has_waited(track.ack_timeout_s, now_s):
                    self._leave_out(track, model, follower, Waits.NO_MORE)
                elif late:
                    self._leave_out(track, model, follower, Waits.FOR_OTHERS)
            self._judge(track, model)

    @property
    def has_news(self) -> bool:
        """Whether there is anything for ``take_acknowledged`` or ``take_counts``."""
        return bool(self._acknowledged or self._counted)

    def take_acknowledged(self) -> list[AckProgress]:
        """Take the models whose newest routes have become acknowledged.

        It is those since the last call.
        """
        models, self._acknowledged = self._acknowledged, {}
        self._progressed -= models.keys()
        return [each for model in models if (each := self.progress(model)) is not None]

    def take_progress(self) -> list[AckProgress]:
        """Take the models of which something moved since the last call."""
        models, self._progressed = self._progressed, set()
        return [each for model in sorted(models) if (each := self.progress(model)) is not None]

    def take_counts(self) -> list[tuple[str, int]]:
        """Take the models that gained or lost a subscriber since the last call.

        Each comes with how many subscribers it has.
        """
        models, self._counted = self._counted, set()
        return [(model, self.count(model)) for model in sorted(models)]

    def progress(self, model: str) -> AckProgress | None:
        """Return how far a model's newest routes have come.

        None for a model that is not published.
        """
        track = self._tracks.get(model)
        if track is None:
            return None
        stale = tuple(sorted(each.stream.node.id for each in track.waiting.values() if each.stale))
        held = len(track.followers) - len(track.waiting)
        return AckProgress(model, track.epoch, held, len(track.followers), stale)

    def count(self, model: str) -> int:
        """Return how many streams follow a model."""
        track = self._tracks.get(model)
        return len(track.followers) if track else 0

    def models_of(self, stream: Stream) -> Collection[str]:
        """Return the models that a stream follows."""
        return self._followed.get(stream, set())

    def is_stale(self, stream: Stream) -> bool:
        """Return whether the stream is stale for any model."""
        return any(self._tracks[model].followers[stream].stale for model in self.models_of(stream))

    def _is_news(
        self, stream: Stream, model: str, resource: Resource, before: Resource | None, snapshot: Snapshot
    ) -> bool:
        """Return whether a refused resource is new to a stream for a model.

        That is so where the model's part came after what the stream had, and still stands.
        """
        follower = self._tracks[model].followers[stream]
        part = resource.parts[model]
        current = snapshot.get(resource.type, resource.name)
        if follower.had_epoch is None or part.epoch <= follower.had_epoch or current is None:
            return False
        if before is not None and before.parts.get(model) == part:
            return False
        return current.parts.get(model) == part

    def _add(self, track: Track, model: str, stream: Stream) -> Follower:
        follower = track.followers[stream] = Follower(stream)
        self._counted.add(model)
        self._progressed.add(model)
        return follower

    def _remove(self, model: str, stream: Stream) -> None:
        track = self._tracks[model]
        follower = track.followers.pop(stream)
        track.waiting.pop(stream, None)
        track.stale -= follower.stale
        self._counted.add(model)
        self._progressed.add(model)
        self._judge(track, model)

    def _update_follower(self, track: Track, model: str, follower: Follower, now_s: float) -> None:
        """Compare what the follower has with what there is."""
        if follower.stream.has_routes(model):
            if follower.waiting_since_s is not None or follower.had_epoch != track.epoch:
                self._progressed.add(model)
            track.stop_waiting(follower)
            return
        if follower.waiting_since_s is None:
            follower.waiting_since_s = now_s
            track.waiting[follower.stream] = follower
            self._progressed.add(model)
            if track.is_late(now_s):
                self._leave_out(track, model, follower, Waits.FOR_OTHERS)

    def _leave_out(self, track: Track, model: str, follower: Follower, waits: Waits) -> None:
        if track.leave_out(follower, waits):
            self._progressed.add(model)

    def _judge(self, track: Track, model: str) -> None:
        if not track.announced and len(track.waiting) == track.stale:
            track.announced = True
            self._acknowledged[model] = None


def nack(stream: Stream, reply: StreamReply) -> Nack:
    """Return what a refused push was about.

    These are its resources that the client did not have, or all if it had every one.
    """
    resources = reply.push.resources if reply.push is not None else ()
    before = reply.before or {}
    news = [each for each in resources if (had := before.get(each.name)) is None or had.version != each.version]
    about = news or resources
    models = frozenset(m for each in about for m in _changed_models(before.get(each.name), each) or each.parts.keys())
    return Nack(stream.node.id, str(reply.type), reply.detail, frozenset(each.name for each in about), models)


def _news(
    kind: ResourceType,
    knowledge: Mapping[str, Resource | None],
    before: Mapping[str, Resource | None],
    followed: Collection[str],
) -> dict[str, list[News]]:
    """Return what an accepted push changed for a client, by model followed.

    ``before``: what it had accepted of the push's names. A listener without a model's share, as a gateway has, is of every model.
    """
    found: dict[str, list[News]] = {}
    for name, resource in knowledge.items():
        changed = _changed_models(before.get(name), resource)
        is_shared = kind is ResourceType.LISTENER and resource is not None and not resource.parts
        for model in followed if is_shared else changed.intersection(followed):
            part = resource.parts.get(model) if resource is not None else None
            found.setdefault(model, []).append((kind, name, part.digest if part is not None else ""))
    return found


def _changed_models(before: Resource | None, after: Resource | None) -> set[str]:
    """Return the models whose share of a resource changed for a client.

    The shares are compared between what it had of a name and what it has now.
    """
    old = before.parts if before else {}
    new = after.parts if after else {}
    changed = {model for model, part in new.items() if old.get(model) != part}
    return changed | (old.keys() - new.keys())
