"""Requests that came before.

They are known by the operations they started and, where a call starts none, by a memory of this process.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

from echoplaned.core.errors import RequestIdReusedError
from echoplaned.core.state import Operation, State

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


def find_operation(state: State, request_id: str, digest: str) -> Operation | None:
    """Return the operation that a request started when it came before.

    None: it did not come before.

    Raises:
        RequestIdReusedError: the id came with another body.
    """
    if not request_id:
        return None
    for operation in state.operations.values():
        if operation.request_id == request_id:
            if operation.request_digest != digest:
                raise RequestIdReusedError(request_id)
            return operation
    return None


class RequestDeduplicator:
    """Ids of the latest calls that changed something without an operation.

    For example pause, promote and configure.
    Ids are kept for as long as the process lives: what such a call leads to is visible in the resource itself after a restart.
    """

    def __init__(self, limit: int = REQUEST_IDS_RETAINED) -> None:
        self._limit = limit
        self._digests: OrderedDict[str, str] = OrderedDict()

    def refuse_reuse(self, request_id: str, digest: str) -> None:
        """Check an id that is about to start an operation.

        Raises:
            RequestIdReusedError: it came with another body.
        """
        known = self._digests.get(request_id)
        if known is not None and known != digest:
            raise RequestIdReusedError(request_id)

    @contextmanager
    def first_call(self, state: State, request_id: str, digest: str) -> Iterator[bool]:
        """Yield whether a call is to be made.

        False when the same one was made before, or is on its way.
        A call that ends in an error is forgotten: it may be made again.

        Raises:
            RequestIdReusedError: the id came with another body.
        """
        if not request_id:
            yield True
            return
        self.refuse_reuse(request_id, digest)
        if find_operation(state, request_id, digest) is not None or request_id in self._digests:
            yield False
            return
        self._digests[request_id] = digest
        while len(self._digests) > self._limit:
            self._digests.popitem(last=False)
        made = False
        try:
            yield True
            made = True
        finally:
            if not made:
                self._digests.pop(request_id, None)
