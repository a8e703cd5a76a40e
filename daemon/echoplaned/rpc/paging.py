"""Pages of lists (AIP-158), with opaque tokens.

A token says after which item to go on, and belongs to one query.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message

from echoplaned.core.errors import PageTokenInvalidError

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 1024 * 1024
"""From here on a page ends, however many items were asked for: a client takes 4 MiB if nobody tells it otherwise."""

_IN_ONE_GO = 10
"""Items that are written without letting others go on: what an operation or a version says takes 0.3 ms each."""

Item = TypeVar("Item")
Written = TypeVar("Written", bound=Message)
Key = tuple[float | str, ...]


class PageRequest(Protocol):
    """What every request for a list has."""

    @property
    def page_size(self) -> int:
        """Items at most; 0: 50."""
        ...

    @property
    def page_token(self) -> str:
        """Where the page before ended; empty: the first."""
        ...


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The query that a page token belongs to.

    Attributes:
        method: name of the list method.
        scope: what it is a list of (parent, filter); empty: of everything.
    """

    method: str
    scope: str = ""

    @property
    def digest(self) -> str:
        """Short digest of the query."""
        return hashlib.blake2b(f"{self.method}\x1f{self.scope}".encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list.

    Attributes:
        items: its items, in ascending order of their keys.
        next_page_token: token of the next page; empty: this is the last.
    """

    items: tuple[Item, ...]
    next_page_token: str


def paginate(items: Sequence[Item], key: Callable[[Item], Key], query: PageQuery, size: int, token: str) -> Page[Item]:
    """Return the page that follows a token, in ascending order of keys.

    An item that goes between two pages moves nothing; one that comes is seen if its key lies ahead.

    Args:
        items: all items, in any order.
        key: an item's place; unique.
        query: what the token must belong to.
        size: items a page; 0: 50; more than 1,000: 1,000.
        token: ``next_page_token`` of the page before; empty: the first page.

    Raises:
        PageTokenInvalidError: the token is not one of this query's.
    """
    ordered = sorted(items, key=key)
    if token:
        after = decode_token(query, token)
        try:
            ordered = [item for item in ordered if key(item) > after]
        except TypeError as error:
            raise PageTokenInvalidError from error
    size = min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    page = tuple(ordered[:size])
    more = len(ordered) > size
    return Page(page, encode_token(query, key(page[-1])) if more else "")


async def write_page(
    items: Sequence[Item],
    key: Callable[[Item], Key],
    asked: PageRequest,
    query: PageQuery,
    write: Callable[[Item], Written],
) -> tuple[list[Written], str]:
    """Return a page as messages, and the token of the next.

    A page is 1 MiB at most, but has one item in any case.

    Args:
        items: all items, in any order, of one state.
        key: an item's place; unique.
        asked: how many items after which token.
        query: what the token must belong to.
        write: makes the message of an item; others go on between some of them.

    Raises:
        PageTokenInvalidError: the token is not one of this query's.
    """
    page = paginate(items, key, query, asked.page_size, asked.page_token)
    written: list[Written] = []
    size = 0
    for number, item in enumerate(page.items):
        if number and number % _IN_ONE_GO == 0:
            await asyncio.sleep(0)
        message = write(item)
        size += message.ByteSize()
        if written and size > MAX_PAGE_BYTES:
            return written, encode_token(query, key(page.items[number - 1]))
        written.append(message)
    return written, page.next_page_token


def encode_token(query: PageQuery, key: Key) -> str:
    """Return an opaque token for a place in a query's list."""
    text = json.dumps([query.digest, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(query: PageQuery, token: str) -> Key:
    """Return the place that a token names.

    Raises:
        PageTokenInvalidError: the token is not one of this query's.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise PageTokenInvalidError from error
    if not isinstance(parts, list) or len(parts) < 2 or parts[0] != query.digest:
        raise PageTokenInvalidError
    key = tuple(parts[1:])
    if not all(map(_is_place, key)):
        raise PageTokenInvalidError
    return key


def _is_place(part: object) -> bool:
    """Whether a token's part can be compared: nothing lies after NaN or infinity."""
    if isinstance(part, float):
        return math.isfinite(part)
    return isinstance(part, str | int) and not isinstance(part, bool)
