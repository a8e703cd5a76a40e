"""Lists the texts that users may read.

``python -m echoplaned.testing.messages > docs/messages.md``

A text is a literal of at least three words that the code hands on: to an error, a verdict, an alarm, an event, or the command's output.
Docstrings and log events are none. What is filled in is shown as ``{expression}``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
"""The repository: the page is made from sources, so it needs them."""

ROOMS: Final = {
    "The command `echoplane`": ("clients/python/src/echoplane/cli",),
    "The client library": ("clients/python/src/echoplane",),
    "The API": ("daemon/echoplaned/rpc", "daemon/echoplaned/core", "daemon/echoplaned/ports"),
    "Plans and checkpoints": ("daemon/echoplaned/planning", "daemon/echoplaned/engine_kinds"),
    "Verdicts": ("daemon/echoplaned/gates",),
    "Engines": ("daemon/echoplaned/engines", "daemon/echoplaned/worker_contract"),
    "Inference": ("daemon/echoplaned/worker",),
    "Routes and load reports": ("daemon/echoplaned/xds",),
    "The daemon's own start and state": ("daemon/echoplaned",),
}
"""Title of each section, and where its texts are; a file belongs to the first section that has it."""

RUST: Final = "allocator_rs"
LEFT_OUT: Final = ("/testing/", "/dtesn/", "/migrations/", "_pb2", "/benches/", "/tests/", "/fuzz/", "/target/")
MIN_WORDS: Final = 3

_LOG_METHODS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_PYTHON_WORDS: Final = re.compile(r"[A-Za-z]{2,}")
_RUST_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_RUST_NOISE: Final = re.compile(r"//[^\n]*|#\[cfg\(test\)\]\s*mod \w+ \{.*\Z", re.DOTALL)
_FORMATTED: Final = re.compile(r"\\\n\s*")


def python_texts(source: str) -> Iterator[str]:
    """Yield the texts of a Python file in their order, each once."""
    tree = ast.parse(source)
    left_out = _docstrings(tree) | _logged(tree)
    seen: set[str] = set()
    for node in _outermost(tree, left_out):
        text = " ".join(_text(node).split())
        if _is_message(text) and text not in seen:
            seen.add(text)
            yield text


def rust_texts(source: str) -> Iterator[str]:
    """Yield the texts of a Rust file in their order, each once.

    Those of its tests are left out.
    """
    seen: set[str] = set()
    for match in _RUST_TEXT.finditer(_RUST_NOISE.sub("", source)):
        text = " ".join(_FORMATTED.sub("", match[1]).replace('\\"', '"').split())
        if _is_message(text) and text not in seen:
            seen.add(text)
            yield text


def page(root: Path = ROOT) -> str:
    """Return the whole page."""
    lines = [
        "# Messages",
        "",
        "Every text that a user may read, from the code, by `make diagrams`; do not edit. What is filled in stands in braces.",
    ]
    taken: set[Path] = set()
    for title, folders in ROOMS.items():
        files = [path for folder in folders for path in sorted((root / folder).rglob("*.py")) if path not in taken]
        taken.update(files)
        lines += _section(title, root, files)
    return "\n".join([*lines, *_section("The allocator", root, sorted((root / RUST).rglob("*.rs")))]) + "\n"


def _section(title: str, root: Path, files: list[Path]) -> list[str]:
    lines = ["", f"## {title}"]
    for path in files:
        name = path.relative_to(root).as_posix()
        if any(part in f"/{name}" for part in LEFT_OUT):
            continue
        read = python_texts if path.suffix == ".py" else rust_texts
        texts = list(read(path.read_text(encoding="utf-8")))
        if texts:
            lines += ["", f"`{name}`", "", *(f"- {_escaped(text)}" for text in texts)]
    return lines


def _escaped(text: str) -> str:
    """Return a text as Markdown shows it unchanged."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def _is_message(text: str) -> bool:
    return len(_PYTHON_WORDS.findall(text)) >= MIN_WORDS and text.count(" ") >= MIN_WORDS - 1


def _text(node: ast.expr) -> str:
    """Return a literal's text, with what is filled in as its expression in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    return ""


def _outermost(tree: ast.AST, left_out: set[int]) -> Iterator[ast.expr]:
    """Yield the literals that are no part of another one."""
    for node in ast.iter_child_nodes(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            yield node
        else:
            yield from _outermost(node, left_out)


def _docstrings(tree: ast.AST) -> set[int]:
    """Return the texts that stand alone, by ``id``.

    They are the docstrings of modules, classes, functions and attributes.
    """
    alone = (node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    return {id(node) for node in alone}


def _logged(tree: ast.AST) -> set[int]:
    """Return the calls that write to the log."""
    return {
        id(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LOG_METHODS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    }


if __name__ == "__main__":
    sys.stdout.write(page())
