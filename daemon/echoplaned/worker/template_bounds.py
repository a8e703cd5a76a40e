"""What one rendering of a chat template may make, and hold.

The time limit of a rendering is looked at between a template's lines; a single call into Python's own C code is not interrupted by it.
So sizes are looked at before anything is made: no call may begin whose time or memory is not in proportion to the conversation and the
template.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from jinja2 import Undefined
from jinja2.utils import Namespace

from echoplaned.worker_contract.inference.errors import FieldError

MAX_REPEATED: Final = 1_000_000
"""Characters and elements, beside twice the conversation's own, that one value of a template may have."""
MAX_PARTS: Final = 250_000
"""Parts that a text is split into, or elements that an iterator is read into."""
MAX_NESTING: Final = 64
MAX_HELD_BYTES: Final = 32 << 20
"""Bytes that a rendering's values hold at once, beside 16 for each character of the conversation."""
MAX_WHOLE_NUMBER: Final = 1 << 63
MAX_SEARCH: Final = 100_000_000
"""Text times needle of a search from the end, which CPython does in as many steps."""

_T = TypeVar("_T")
_SHORT: Final = 16
_ENTRY_BYTES: Final = 200
_SWEPT_REFERENCES: Final = 2  # the entry's own, and the argument of the function that counts them
_PLAIN: Final = (int, float, type(None), range, Undefined)
VIEWS: Final[tuple[type, ...]] = (type({}.keys()), type({}.values()), type({}.items()))
"""Of a mapping. The abstract classes would be slow to ask for each element."""
_COMPOUND: Final[tuple[type, ...]] = (list, tuple, dict, *VIEWS)


class Weight(NamedTuple):
    """How large a value is when it is written out or compared.

    Attributes:
        size: characters and elements, with those of every value within, as often as it stands there.
        depth: lists and mappings within each other.
    """

    size: int
    depth: int


class _Held(NamedTuple):
    """A value that a rendering has made."""

    value: object
    count_bytes: int
    weight: Weight | None


class Bounds:
    """The bounds of one rendering, and what it holds.

    Attributes:
        most: characters and elements of one value.
    """

    def __init__(self, characters: int) -> None:
        """Take the characters of the conversation and its template."""
        self.most = MAX_REPEATED + 2 * characters
        self._most_bytes = MAX_HELD_BYTES + 16 * characters
        self._bytes = 0
        self._held: dict[int, _Held] = {}

    def check(self, size: int, what: str) -> None:
        """Refuse to make a value of a size."""
        if size > self.most:
            refuse(f"{what} beyond what is allowed here")

    def hold(self, value: _T, each: int = 0, known: Weight | None = None) -> _T:
        """Count a value that was made, and return it.

        Each of its elements counts with so many bytes beside. It is not weighed again where its weight is known.
        """
        count = sys.getsizeof(value) + _ENTRY_BYTES
        if isinstance(value, str):
            self.check(len(value), "makes a text")
        elif isinstance(value, list | tuple | dict):
            known = known or self.weigh(value)
            count += each * len(value)
        else:
            return value
        if id(value) not in self._held:
            self._held[id(value)] = _Held(value, count, known)
            self._bytes += count
            if self._bytes > self._most_bytes:
                self._sweep()
        return value

    def weigh(self, value: object) -> Weight:
        """Return how large a value is.

        Raises:
            FieldError: it is larger than any may be, or nested deeper, or holds what is no plain value.
        """
        size = depth = 0
        open_: list[Iterator[object]] = [iter((value,))]
        while open_:
            for one in open_[-1]:
                size += 1
                if isinstance(one, str):
                    size += len(one)
                elif not isinstance(one, _PLAIN):
                    if not isinstance(one, _COMPOUND):
                        refuse(f"puts {type(one).__name__} where only plain values are allowed here")
                    held = self._held.get(id(one))
                    if held is None or held.weight is None:
                        within: Any = chain(one.keys(), one.values()) if isinstance(one, dict) else one
                        open_.append(iter(within))
                        break
                    size += held.weight.size
                    depth = max(depth, len(open_) - 1 + held.weight.depth)
                if size > self.most:
                    break
            else:
                open_.pop()
            depth = max(depth, len(open_) - 1)
            self.check(size, "makes a value")
            if depth > MAX_NESTING:
                refuse("nests values beyond what is allowed here")
        return Weight(size, depth)

    def text(self, value: object) -> str:
        """Return a value as a text, if the text is of an allowed size."""
        if isinstance(value, str):
            return value
        if isinstance(value, _COMPOUND):
            self.weigh(value)
        elif isinstance(value, Namespace):
            refuse("writes out a namespace, which is not allowed here")
        return self.hold(str(value))

    def join(self, pieces: Iterable[object], between: str = "") -> str:
        """Return pieces as one text, if it is of an allowed size."""
        texts: list[str] = []
        size = 0
        for piece in pieces:
            texts.append(self.text(piece))
            size += len(texts[-1]) + len(between)
            self.check(size - len(between), "joins texts")
        return self.hold(between.join(texts))

    def gather(self, value: Any) -> Any:  # noqa: ANN401 - a template's value
        """Return an iterator's elements as a list, other values as they are.

        Neither may have too many.
        """
        if isinstance(value, str):
            if len(value) > MAX_PARTS:
                refuse("takes a text apart beyond what is allowed here")
            return value
        if not isinstance(value, Iterator):
            return value
        elements: list[object] = []
        size = 0
        for one in value:
            elements.append(one)
            size += self.weigh(one).size
            self.check(size, "makes a list")
            if len(elements) > MAX_PARTS:
                refuse("makes a list beyond what is allowed here")
        return self.hold(elements)

    def _sweep(self) -> None:
        """Let go of what nothing else refers to any more; refuse if it is little.

        From the newest on: lists come after their elements.
        """
        for key in reversed(list(self._held)):
            held = self._held[key]
            if sys.getrefcount(held.value) <= _SWEPT_REFERENCES:
                self._bytes -= held.count_bytes
                del self._held[key]
        if self._bytes > self._most_bytes * 3 // 4:
            refuse("holds values beyond what is allowed here")


_current = threading.local()


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Make the bounds those of what this thread renders."""
    _current.bounds = bounds
    try:
        yield
    finally:
        del _current.bounds


def bounds() -> Bounds:
    """Return the bounds of what this thread renders."""
    found: Bounds = _current.bounds
    return found


def refuse(what: str) -> NoReturn:
    """Refuse the conversation for something that its template does."""
    raise FieldError("messages", f"the checkpoint's chat template {what}")


def check_number(value: object, most: int = MAX_WHOLE_NUMBER) -> None:
    """Refuse whole numbers beyond a bound, and what is no number."""
    if not isinstance(value, int | float):
        refuse(f"uses {type(value).__name__} where only numbers are allowed here")
    if isinstance(value, int) and abs(value) > most:
        refuse(f"uses whole numbers beyond {most}, which is not allowed here")


def check_search(text: str, needle: object) -> None:
    """Refuse a search that takes as many steps as text times needle."""
    if isinstance(needle, str) and len(needle) > _SHORT and len(text) * len(needle) > MAX_SEARCH:
        refuse("searches for a text beyond what is allowed here")
