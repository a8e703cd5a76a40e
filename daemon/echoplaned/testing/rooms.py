"""Draws the daemon's rooms from its imports.

``python -m echoplaned.testing.rooms docs/ARCHITECTURE.md`` draws that page's picture.

A room is a file or a folder straight below ``echoplaned``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import echoplaned

Graph = dict[str, set[str]]

PACKAGE = Path(echoplaned.__file__).parent
# Public fakes and builders stand above the rooms that they imitate.
EXEMPT = frozenset({"testing", ""})
_PICTURE = re.compile(r"^```mermaid\ngraph TD\n.*?^```$", re.DOTALL | re.MULTILINE)


def python_imports(package: Path) -> Graph:
    """Return every file of a package with the files of it that it imports.

    Imports in functions, and those for types alone, count as well.
    """
    names = {_module(path, package.parent): path for path in sorted(package.rglob("*.py"))}
    return {name: set(_imported(path, names)) - {name} for name, path in names.items()}


def arrows(graph: Graph) -> set[tuple[str, str]]:
    """Return which room imports which."""
    return {
        (room_of(one), room_of(other))
        for one, others in graph.items()
        for other in others
        if room_of(one) != room_of(other)
    }


def room_of(module: str) -> str:
    """Return the room of a module by its full name; empty: the package itself."""
    return module.partition(".")[2].partition(".")[0]


def shortest(drawn: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out each arrow that others lead along as well.

    This is the transitive reduction of a graph without circles.
    """
    below: dict[str, set[str]] = {}
    for one, other in drawn:
        below.setdefault(one, set()).add(other)

    def reached(room: str) -> set[str]:
        return {room}.union(*(reached(other) for other in below.get(room, ())))

    return {
        (one, other) for one, other in drawn if not any(other in reached(between) for between in below[one] - {other})
    }


def picture(package: Path = PACKAGE) -> str:
    """Return the rooms and their arrows as a Mermaid graph.

    An arrow that others imply is left out.
    """
    drawn = {(one, other) for one, other in arrows(python_imports(package)) if not EXEMPT & {one, other}}
    names = {room: room.strip("_") for pair in drawn for room in pair}
    lines = [f"    {names[one]} --> {names[other]}" for one, other in sorted(shortest(drawn))]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"])


def redraw(page: str) -> str:
    """Return a page with its picture of the rooms drawn anew."""
    return _PICTURE.sub(lambda _: picture(), page)


def _module(path: Path, above: Path) -> str:
    parts = path.relative_to(above).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, names: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path} imports relatively; the rooms are drawn from full names")
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found = full if full in names else node.module
                if found in names:
                    yield str(found)


if __name__ == "__main__":
    for each in map(Path, sys.argv[1:]):
        each.write_text(redraw(each.read_text(encoding="utf-8")), encoding="utf-8")
