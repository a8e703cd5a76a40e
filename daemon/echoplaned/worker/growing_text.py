"""Grows one answer's text by whole characters and finds its stop texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_REPLACEMENT: Final = "\ufffd"  # what an unfinished character decodes to

MAX_UNFINISHED: Final = 32
"""Tokens that are held back for an unfinished character, which has four bytes at most: what is no text at all then goes as it is."""

MAX_SILENT: Final = 32
"""Tokens without text that are kept behind the last one with text: a mark for a space may have none before another comes."""

_MAX_BEFORE: Final = 8
"""Tokens that are looked at for the end of the text before: the bytes of a character, and some without text."""


class Detokenizer:
    """Turns tokens into pieces of text that add up to the text of all tokens.

    A piece is what the newest tokens add to the text of those before them: some decoders drop a space at the beginning, or join
    tokens, so a token's text depends on its neighbours. Only a few tokens are decoded again each time.

    Args:
        decode: returns the text of tokens.
        before: tokens whose text the answer goes on with; none: it begins a text.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = _last_text(decode, before)
        # Tokens before ``_told`` have been told; those from ``_context`` on are decoded with what is new.
        self._context = 0
        self._told = len(self._ids)
        # Behind the newest token that had text; those from here to ``_told`` had none.
        self._text_end = self._told

    def push(self, token_id: int, *, last: bool) -> str:
        """Return the text that a token completes; empty within a character.

        ``last``: nothing follows, so nothing is held back.
        """
        self._ids.append(token_id)
        return self._tell(last=last)

    def finish(self) -> str:
        """Return what was held back: an unfinished character will never be finished."""
        return self._tell(last=True)

    def _tell(self, *, last: bool) -> str:
        before = self._decode(self._ids[self._context : self._told])
        whole = self._decode(self._ids[self._context :])
        unfinished = whole.endswith(_REPLACEMENT) and len(self._ids) - self._told < MAX_UNFINISHED
        if unfinished and not last:
            return ""
        piece = whole[len(before) :]
        if piece:
            self._context, self._told = self._told, len(self._ids)
            self._text_end = self._told
            return piece
        # Special tokens have no text: after them alone a decoder would drop the next one's space, as at a text's beginning. So what is
        # before them stays, and of many without text the oldest go, or each would cost more than the one before.
        del self._ids[self._text_end : -MAX_SILENT]
        self._told = len(self._ids)
        return ""


def _last_text(decode: Callable[[list[int]], str], ids: Sequence[int]) -> list[int]:
    """Return the fewest last tokens that are a text of whole characters.

    More would be of no use, and might begin within a character, which some decoders then take for no text together with what follows.
    """
    last: list[int] = []
    for count in range(1, min(len(ids), _MAX_BEFORE) + 1):
        tail = list(ids[-count:])
        text = decode(tail)
        if text.endswith(_REPLACEMENT):
            continue
        last = tail
        if text:
            break
    return last


@dataclass(frozen=True, slots=True)
class Growth:
    """What a piece of text adds to what may be shown.

    Attributes:
        text: to be shown now.
        stop: the stop text that was found; None: none yet.
    """

    text: str
    stop: str | None = None


class StopTexts:
    """Holds back what may be the beginning of a stop text, and never shows one.

    Args:
        stops: the texts that end an answer.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    @property
    def held_length(self) -> int:
        """Characters that are held back."""
        return len(self._held)

    def push(self, piece: str, *, last: bool) -> Growth:
        """Take a piece; ``last``: nothing follows, so nothing is held back any longer."""
        text = self._held + piece
        # A stop text begins in what was held or in what is new: what was shown could not begin one.
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            # Whichever is whole first, as if the text came letter by letter: where tokens end says nothing of which one it is.
            at, stop = min(found, key=lambda one: (one[0] + len(one[1]), one[0]))
            self._held = ""
            return Growth(text[:at], stop)
        keep = 0 if last else self._beginning(text)
        self._held = text[len(text) - keep :]
        return Growth(text[: len(text) - keep])

    def _beginning(self, text: str) -> int:
        """Return the length of the longest end of a text that begins a stop text."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            end = text[-size:]
            if any(stop.startswith(end) for stop in self._stops):
                return size
        return 0
