"""Writes a large answer in pieces, and the event loop turns between them.

The loop also sends the reports by which the daemon knows that the worker lives. In one go the log-probabilities of eight long answers
would hold it for five seconds, as ``json.dumps`` lets nobody else run meanwhile, in whatever thread it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from echoplaned.worker.http.exchange import to_json
from echoplaned.worker.loop_turns import LoopTurns

PIECE_VALUES: Final = 512
"""Tokens, each alternative counted as one, that are written at once: some 3.5 ms, most of it for their texts and bytes."""

PIECE_FLOATS: Final = 4096
"""Numbers of a vector that are written at once as digits: some 3 ms."""

PIECE_PACKED: Final = 64 * 1024
"""The same as base64: some 1 ms."""

SMALL_PIECES: Final = 1
"""An answer of so many pieces is written whole, as most are, without a turn of its own."""

_TURN_BYTES: Final = 16 * 1024  # the commas and heads between two pieces have no turn of their own

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chunks:
    """A list whose elements are made and written some at a time.

    Attributes:
        made: makes the elements, some with each step; once.
    """

    made: Iterator[list[Any]]


def is_large(values: int, piece: int) -> bool:
    """Say whether an answer of so many values is written in pieces."""
    return values > SMALL_PIECES * piece


def listed(items: Sequence[T], write: Callable[[T], Any], chunk: int) -> list[Any] | Chunks:
    """Return what is written of each item.

    ``chunk``: so many at a time, 0: all of them now.
    """
    if not chunk:
        return [write(one) for one in items]
    return Chunks([write(one) for one in items[at : at + chunk]] for at in range(0, len(items), chunk))


async def write_in_turns(value: object, turns: LoopTurns, peer: str) -> list[bytes]:
    """Write a value with ``Chunks`` within, as ``to_json`` would if they were lists.

    Connections take turns. The pieces are not joined: a hundred MiB would be copied in one go.
    """
    parts = _parts(value)
    pieces: list[bytes] = []
    while piece := await turns.run(partial(_next, parts), peer):
        pieces.append(piece)
    return pieces


def _next(parts: Iterator[bytes]) -> bytes:
    """Return the next parts that are worth a turn; none: there are no more."""
    taken: list[bytes] = []
    size = 0
    while size < _TURN_BYTES and (part := next(parts, b"")):
        taken.append(part)
        size += len(part)
    return b"".join(taken)


def _parts(value: object) -> Iterator[bytes]:
    """Yield a value's JSON; none of the parts is empty."""
    if isinstance(value, dict):
        for index, (name, inner) in enumerate(value.items()):
            yield b",%b:" % to_json(name) if index else b"{%b:" % to_json(name)
            yield from _parts(inner)
        yield b"}" if value else b"{}"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield b"," if index else b"["
            yield from _parts(inner)
        yield b"]" if value else b"[]"
    elif isinstance(value, Chunks):
        yield b"["
        for index, chunk in enumerate(value.made):
            yield b"," + to_json(chunk)[1:-1] if index else to_json(chunk)[1:-1]
        yield b"]"
    else:
        yield to_json(value)
