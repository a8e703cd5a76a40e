"""Code blocks of a markdown file, and when two outputs have the same shape.

A block says by its language what it is: ``sh`` commands, ``console`` commands behind ``$`` with what they print, ``python`` a program.
A ``text`` block straight behind one of these is what it prints. Others are not run. A comment before a block says more:
``<!-- not run: REASON -->``, or ``<!-- same terminal -->`` where it goes on in the shell of the block before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUN: Final = frozenset({"sh", "console", "python"})
SHOWN: Final = frozenset({"text", "json", "mermaid"})
SKIPPED_LINES: Final = "..."
"""A line of an output in a document that stands for any lines, or none."""

_FENCE = re.compile(r"^( {0,3})(```+|~~~+) *([\w-]*) *$")
_COMMENT = re.compile(r"^<!-- *(not run|same terminal)(?:: *(.+?))? *-->$")
_INDENTED = re.compile(r"^(?: {4}|\t)\S")
_LIST = re.compile(r"^ *(?:[-*+]|\d+[.)]) ")
_NUMBER = re.compile(r"(?<![a-z_])-?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?(?![a-z_])", re.IGNORECASE)
_PATH = re.compile(r"(?:file:)?/[^\s:]+")
_RUN_OF_NUMBERS = re.compile(r"#(?:, #)+")
_BARS = re.compile(r"[▁-█]+")


@dataclass(slots=True)
class Block:
    """A code block.

    Attributes:
        path: the file, relative to the repository.
        line: of the opening fence, from 1.
        language: behind the fence; empty where nothing is said, or where it is indented text.
        text: what is in it.
        not_run: why it is not run; empty: it is.
        same_terminal: it goes on in the shell of the block before it.
        output: lines that it prints, by the document; None: nothing is said.
    """

    path: Path
    line: int
    language: str
    text: str
    not_run: str = ""
    same_terminal: bool = False
    output: list[str] | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def read_blocks(path: Path, text: str) -> list[Block]:
    """Return a document's code blocks in order, each with its comments and, where it is shown, its output."""
    found: list[Block] = []
    comments: dict[str, str] = {}
    adjacent = False  # only blank lines since the last block
    in_list = False
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        fence, comment = _FENCE.match(line), _COMMENT.match(line)
        if fence is not None:
            block = Block(path, number, fence[3], _body(lines, fence))
        elif _INDENTED.match(line) and not in_list:
            block = Block(path, number, "", line)
        else:
            if comment is not None:
                comments[comment[1]] = comment[2] or ""
            elif line.strip():
                comments.clear()
                adjacent = False
                in_list = bool(_LIST.match(line)) or (in_list and line.startswith(" "))
            continue
        if block.language == "text" and adjacent and found[-1].language in RUN:
            found[-1].output = block.text.splitlines()
            continue
        block.not_run = comments.get("not run", "")
        block.same_terminal = "same terminal" in comments
        comments.clear()
        found.append(block)
        adjacent = True
    return found


def _body(lines: Iterator[tuple[int, str]], fence: re.Match[str]) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.strip() == fence[2]:
            return "\n".join(body)
        body.append(line.removeprefix(fence[1]))
    raise ValueError(f"a block opened by {fence[0]!r} is never closed")


def commands_of(block: Block) -> list[tuple[str, list[str]]]:
    """Return a ``console`` block's commands, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """Return what stays of a line of output on another machine, another day: numbers, ids, paths, bars and widths are left out."""
    line = _PATH.sub("PATH", line)
    line = " ".join("#" if _is_id(word) else word for word in line.split())
    return _BARS.sub("▄", _RUN_OF_NUMBERS.sub("#", _NUMBER.sub("#", line)))


def _is_id(word: str) -> bool:
    """Say whether a word is a digest, an id or a time."""
    letters = sum(c.isalpha() for c in word)
    return len(word) >= 12 and bool(re.fullmatch(r"[\w:.+-]+", word)) and sum(map(str.isdigit, word)) > letters / 4 > 0


def missing_line(shown: list[str], printed: list[str]) -> str | None:
    """Return the first line of a shown output that the printed one does not have in its place, or None where the shapes agree."""
    rest = [shape(line) for line in printed if line.strip()]
    anywhere = False
    for line in shown:
        if not line.strip():
            continue
        if line.strip() == SKIPPED_LINES:
            anywhere = True
            continue
        wanted = shape(line)
        places = (
            [n for n, each in enumerate(rest) if each == wanted][:1]
            if anywhere
            else ([0] if rest[:1] == [wanted] else [])
        )
        if not places:
            return line
        rest, anywhere = rest[places[0] + 1 :], False
    return None if anywhere or not rest else f"(nothing more, but there was {rest[0]!r})"
