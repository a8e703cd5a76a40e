"""Requests that came before.

They are known by the operations they started and, where a call starts none, by a memory of this process.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from google.protobuf.message import Message

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.commands.request import find_repeated
from echoplaned.core.errors import RequestIdReusedError
from echoplaned.core.state import Operation, State
from echoplaned.ports.own_tasks import outcome_of
from echoplaned.rpc.peer import current_peer

REQUEST_IDS_RETAINED = 10_000


def digest_of(request: Message) -> str:
    """Return the digest of a request's kind and body, without its ``request_id``.

    Fields set to their defaults do not count.
    """
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    text = request.DESCRIPTOR.full_name.encode() + b"\0" + body.SerializeToString(deterministic=True)
    return hashlib.sha256(text).hexdigest()


Give: TypeAlias = Callable[[], Awaitable[asyncio.Future[Operation | None]]]
"""Gives a call's command, and returns what its outcome will be."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that changes something.

    Attributes:
        digest: of its request.
        peer: the connection that made it.
        outcome: how it ends; cancelled: its caller had gone before the command was given.
    """

    digest: str
    peer: str
    outcome: asyncio.Future[None]


class RequestDeduplicator:
    """Ids of the latest calls that changed something without an operation.

    For example pause, promote and configure.
    Ids are kept for as long as the process lives: what such a call leads to is visible in the resource itself after a restart.
    A connection that calls without end puts out its own oldest ids, not those of others.
    """

    def __init__(self, limit: int = REQUEST_IDS_RETAINED) -> None:
        self._budget = Budget("ids of requests", limit)
        self._calls: dict[str, _Call] = {}
        self._ids_by_peer: dict[str, dict[str, None]] = {}

    def refuse_reuse(self, request_id: str, digest: str) -> None:
        """Check an id that is about to start an operation.

        Raises:
            RequestIdReusedError: it came with another body.
        """
        known = self._calls.get(request_id)
        if known is not None and known.digest != digest:
            raise RequestIdReusedError(request_id)

    async def once(self, state: State, request_id: str, digest: str, give: Give) -> None:
        """Make a call, or wait for the same one that came before.

        A repeat ends as the first one does. A call that was refused, or whose caller had gone before its command was given, is
        forgotten: it may be made again.

        Raises:
            RequestIdReusedError: the id came with another body.
            DaemonError: the call was refused, now or when it came before.
        """
        if not request_id:
            await outcome_of(await give())
            return
        if find_repeated(state, request_id, digest) is not None:
            return
        self.refuse_reuse(request_id, digest)
        while (known := self._calls.get(request_id)) is not None:
            await asyncio.wait({known.outcome})
            if not known.outcome.cancelled():
                known.outcome.result()
                return
            self.refuse_reuse(request_id, digest)  # somebody else may have been faster with the id
        await self._make(request_id, digest, give)

    async def _make(self, request_id: str, digest: str, give: Give) -> None:
        call = _Call(digest, current_peer(), asyncio.get_running_loop().create_future())
        self._remember(request_id, call)
        try:
            given = await give()
        except BaseException as error:
            self._forget(request_id)
            _end(call, error)
            raise
        # From here on the loop has it: it is done or refused, whether its caller stays or not.
        given.add_done_callback(partial(self._settle, request_id, call))
        await outcome_of(given)

    def _settle(self, request_id: str, call: _Call, given: asyncio.Future[Operation | None]) -> None:
        error = asyncio.CancelledError() if given.cancelled() else given.exception()
        if error is not None:
            self._forget(request_id)
        _end(call, error)

    def _remember(self, request_id: str, call: _Call) -> None:
        try:
            self._budget.acquire(call.peer)
        except BudgetExceededError:
            self._forget_oldest(call.peer)
            self._budget.adjust(call.peer)
        self._calls[request_id] = call
        self._ids_by_peer.setdefault(call.peer, {})[request_id] = None

    def _forget_oldest(self, peer: str) -> None:
        """Forget a connection's oldest id; one that has none, the oldest of all.

        Never that of a call on its way: of these there are few.
        """
        ids = self._ids_by_peer.get(peer, self._calls)
        oldest = next((each for each in ids if self._calls[each].outcome.done()), None)
        if oldest is not None:
            self._forget(oldest)

    def _forget(self, request_id: str) -> None:
        peer = self._calls.pop(request_id).peer
        self._budget.release(peer)
        ids = self._ids_by_peer[peer]
        del ids[request_id]
        if not ids:
            del self._ids_by_peer[peer]


def _end(call: _Call, error: BaseException | None) -> None:
    """Tell those who wait for a call how it ended."""
    if error is None:
        call.outcome.set_result(None)
    elif isinstance(error, Exception):
        call.outcome.set_exception(error)
        call.outcome.exception()  # whoever made the call has it; nobody else may wait
    else:
        call.outcome.cancel()
