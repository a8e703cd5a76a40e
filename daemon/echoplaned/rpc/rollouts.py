"""RolloutService: reads rollouts, and controls them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial

from echoplane.v1 import rollouts_pb2, rollouts_pb2_grpc
from echoplaned.core.commands import AbortRollout, Command, PauseRollout, PromoteRollout, Request, ResumeRollout
from echoplaned.core.errors import RolloutNotFoundError
from echoplaned.core.rollout_state import TERMINAL_PHASES, Phase, Rollout
from echoplaned.core.state import Model, State
from echoplaned.ports.handle import Handle
from echoplaned.rpc.convert.rollouts import rollout_to_pb
from echoplaned.rpc.deduplication import RequestDeduplicator, digest_of
from echoplaned.rpc.following import Watchers, closing, follow
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.lookup import all_rollouts, find_model, find_rollout
from echoplaned.rpc.names import parse_model, parse_rollout
from echoplaned.rpc.paging import PageQuery, write_page

RolloutCommandRequest = (
    rollouts_pb2.PauseRolloutRequest
    | rollouts_pb2.ResumeRolloutRequest
    | rollouts_pb2.AbortRolloutRequest
    | rollouts_pb2.PromoteRolloutRequest
)


class RolloutService(rollouts_pb2_grpc.RolloutServiceServicer):
    """Turns requests into commands and snapshots into answers."""

    def __init__(self, handle: Handle, lifecycle: Lifecycle, watchers: Watchers, memory: RequestDeduplicator) -> None:
        self._handle = handle
        self._lifecycle = lifecycle
        self._watchers = watchers
        self._memory = memory

    async def GetRollout(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.GetRolloutRequest, context: Context
    ) -> rollouts_pb2.Rollout:
        """Return one rollout."""
        return rollout_to_pb(*find_rollout(self._handle.state, *parse_rollout(request.name)))

    async def ListRollouts(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.ListRolloutsRequest, context: Context
    ) -> rollouts_pb2.ListRolloutsResponse:
        """List a model's rollouts, the latest first."""
        model = find_model(self._handle.state, parse_model(request.parent, "parent"))
        rollouts, token = await write_page(
            all_rollouts(model),
            lambda r: (-r.create_time_s, r.rollout_id),
            request,
            PageQuery("ListRollouts", model.model_id),
            lambda r: rollout_to_pb(model, r, with_history=False),
        )
        return rollouts_pb2.ListRolloutsResponse(rollouts=rollouts, next_page_token=token)

    async def WatchRollout(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.WatchRolloutRequest, context: Context
    ) -> AsyncIterator[rollouts_pb2.Rollout]:
        """Send the rollout now and after each change, until its outcome is known."""
        model_id, rollout_id = parse_rollout(request.name)
        last, latest = find_rollout(self._handle.state, model_id, rollout_id)
        with self._watchers.reserve(context.peer()):
            watched = _watched(model_id, rollout_id)
            async with closing(follow(self._handle, self._lifecycle, watched)) as changes:
                async for found in changes:
                    if found is None:  # the model has gone, and its rollouts with it
                        yield _deleted(last, latest, self._handle.now_s())
                        return
                    last, latest = found
                    yield rollout_to_pb(last, latest)
                    if latest.phase in TERMINAL_PHASES:
                        return

    async def PauseRollout(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.PauseRolloutRequest, context: Context
    ) -> rollouts_pb2.Rollout:
        """Stop going forward."""
        event = PauseRollout(self._stamp(request), *parse_rollout(request.name), request.reason)
        return await self._submit(request, event)

    async def ResumeRollout(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.ResumeRolloutRequest, context: Context
    ) -> rollouts_pb2.Rollout:
        """Go on after a pause."""
        event = ResumeRollout(self._stamp(request), *parse_rollout(request.name), request.reason)
        return await self._submit(request, event)

    async def AbortRollout(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.AbortRolloutRequest, context: Context
    ) -> rollouts_pb2.Rollout:
        """Roll back."""
        event = AbortRollout(self._stamp(request), *parse_rollout(request.name), request.reason)
        return await self._submit(request, event)

    async def PromoteRollout(  # noqa: N802 - the API's name
        self, request: rollouts_pb2.PromoteRolloutRequest, context: Context
    ) -> rollouts_pb2.Rollout:
        """Go one stage on without a verdict."""
        names = parse_rollout(request.name)
        event = PromoteRollout(self._stamp(request), *names, request.reason, request.stage)
        return await self._submit(request, event)

    async def _submit(self, request: RolloutCommandRequest, event: Command) -> rollouts_pb2.Rollout:
        names = parse_rollout(request.name)
        last, latest = find_rollout(self._handle.state, *names)
        give = partial(self._handle.give, event)
        await self._memory.once(self._handle.state, request.request_id, digest_of(request), give)
        try:
            return rollout_to_pb(*find_rollout(self._handle.state, *names))
        except RolloutNotFoundError:
            return _deleted(last, latest, self._handle.now_s())

    def _stamp(self, request: RolloutCommandRequest) -> Request:
        return Request(self._handle.now_s(), request_id=request.request_id, request_digest=digest_of(request))


def _watched(model_id: str, rollout_id: str) -> Callable[[State], tuple[Model, Rollout] | None]:
    def watched(state: State) -> tuple[Model, Rollout] | None:
        try:
            return find_rollout(state, model_id, rollout_id)
        except RolloutNotFoundError:
            return None

    return watched


def _deleted(model: Model, rollout: Rollout, now_s: float) -> rollouts_pb2.Rollout:
    if rollout.phase in TERMINAL_PHASES:
        return rollout_to_pb(replace(model, rollout=None), rollout)
    ended = replace(rollout, phase=Phase.DELETED, end_time_s=now_s)
    return rollout_to_pb(replace(model, rollout=None), ended)
