"""The pages of a list: each token is followed once, whatever a daemon answers."""

from __future__ import annotations

from typing import Protocol, cast

from google.protobuf.message import Message

from echoplane.errors import UnreadableError


class _Page(Protocol):
    """A part of a list."""

    next_page_token: str


class _ListRequest(Protocol):
    """A request for a part of a list."""

    page_token: str


class PageTokens:
    """The page tokens of one list that were followed."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def follow(self, request: Message, page: Message) -> bool:
        """Make the request that for the next page; False: there is none.

        Raises:
            UnreadableError: the token came before, so the list would never end.
        """
        token = cast(_Page, page).next_page_token
        if not token:
            return False
        if token in self._seen:
            raise UnreadableError("a list with a page token that came before, so that it would never end")
        self._seen.add(token)
        cast(_ListRequest, request).page_token = token
        return True
