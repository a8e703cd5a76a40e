"""The rooms as the imports draw them: no arrow up, and no circle of files, in the daemon and in the native crates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from echoplaned.testing.rooms import EXEMPT, Graph, arrows, picture, python_imports, redraw, room_of, shortest

ROOT = Path(__file__).parents[1]
DAEMON = ROOT / "daemon" / "echoplaned"
RUST = ROOT / "allocator_rs"
CRATES = sorted(
    str(path.parent.relative_to(RUST))
    for path in (*RUST.glob("*/Cargo.toml"), *RUST.glob("*/*/Cargo.toml"))
    if (path.parent / "src").is_dir()
)

# A room imports rooms of a lower level, and itself. What is on one level stands apart.
LEVELS: Mapping[str, int] = {
    "__main__": 7,
    "serving": 6,
    "composition": 5,
    "front_door": 4,
    **dict.fromkeys(("rpc", "telemetry", "gateway", "up"), 3),
    **dict.fromkeys(("engines", "gates", "xds", "planning", "store", "security"), 3),
    **dict.fromkeys(("worker", "supervisor"), 3),
    **dict.fromkeys(("runtime", "command_line"), 2),
    **dict.fromkeys(("ports", "settings", "engine_kinds", "worker_contract"), 1),
    "core": 0,
    "addresses": 0,
    "request_reader": 0,
    "header_lines": 0,
    "process_files": 0,
    "setting_paths": 0,
    "dtesn": 0,
}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the files of one circle, in order; empty: there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


# --- Python ------------------------------------------------------------------------------------------------------------


def test_no_circle_of_python_files() -> None:
    """No file of the daemon needs, by whatever way, a file that needs it."""
    graph = python_imports(DAEMON)
    assert len(graph) > 200
    assert circle(graph) == []


def test_no_arrow_up_between_rooms() -> None:
    """Composition, doors and adapters, runtime, ports, core: each imports what is below it, and no neighbour."""
    graph = python_imports(DAEMON)
    rooms = {room_of(name) for name in graph} - EXEMPT
    assert rooms <= LEVELS.keys(), f"rooms without a level: {rooms - LEVELS.keys()}"
    drawn = {(one, other) for one, other in arrows(graph) if one not in EXEMPT and other not in EXEMPT}
    wrong = {(one, other) for one, other in drawn if LEVELS[other] >= LEVELS[one]}
    assert wrong == set(), "\n".join(f"{one} -> {other}" for one, other in sorted(drawn))


def test_nobody_serves_from_the_fakes() -> None:
    """What tests are made of is imported by tests."""
    assert {one for one, other in arrows(python_imports(DAEMON)) if other == "testing"} <= {"testing"}


def test_the_picture_is_of_today() -> None:
    """The architecture page shows the rooms as the imports draw them now; ``make diagrams`` draws them anew."""
    page = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    assert picture() in page
    assert redraw(page) == page


def test_an_arrow_that_others_imply_is_left_out() -> None:
    """Of three rooms that lean on one another, the long way round stays."""
    assert shortest({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}


# --- Rust --------------------------------------------------------------------------------------------------------------

_IDENT = r"[A-Za-z_]\w*"
_USE = re.compile(r"(?P<shown>\bpub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
_PATH = re.compile(rf"(?<![\w:])(?P<path>{_IDENT}(?:::{_IDENT})+)")
_TESTS = re.compile(r"#\[cfg\(test\)\]\s*mod \w+ \{.*\Z", re.DOTALL)
_NOISE = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


@dataclass
class Crate:
    """The modules of one crate that are files. A root or a ``mod.rs`` that shows a name of another file is no stop on the way to it.

    Attributes:
        texts: by module path; the root is ``crate``.
        shown: by module and name, the path that a ``pub use`` gives.
    """

    texts: dict[str, str] = field(default_factory=dict)
    shown: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def read(cls, source: Path) -> Crate:
        """Read a crate's files, without comments, texts and the tests within them."""
        crate = cls()
        for path in sorted(source.rglob("*.rs")):
            parts = path.relative_to(source).with_suffix("").parts
            inner = parts[:-1] if parts[-1] in {"mod", "lib", "main"} else parts
            text = _TESTS.sub("", path.read_text(encoding="utf-8"))
            crate.texts["::".join(("crate", *inner))] = _NOISE.sub('""', text)
        for module, text in crate.texts.items():
            for match in _USE.finditer(text):
                if match["shown"]:
                    crate.shown |= {(module, name): path for name, path in leaves(match["tree"])}
        return crate

    def imports(self) -> Graph:
        """Return every file with the files whose names it uses."""
        return {
            module: {home for path in self._paths(module) if (home := self.home(module, path))} - {module}
            for module in self.texts
        }

    def _paths(self, module: str) -> Iterator[str]:
        text = self.texts[module]
        for match in _USE.finditer(text):
            yield from (path for _, path in leaves(match["tree"]))
        yield from (match["path"] for match in _PATH.finditer(_USE.sub("", text)))

    def home(self, module: str, path: str) -> str:
        """Return the file that defines what a path in a module names; empty: it is of another crate."""
        first, *rest = path.split("::")
        if first == "crate":
            at = "crate"
        elif first in {"self", "super"}:
            at = module if first == "self" else module.rpartition("::")[0]
        elif f"{module}::{first}" in self.texts:
            at = f"{module}::{first}"
        else:
            return ""
        while rest and rest[0] == "super":
            at, rest = at.rpartition("::")[0], rest[1:]
        while rest and f"{at}::{rest[0]}" in self.texts:
            at, rest = f"{at}::{rest[0]}", rest[1:]
        shown = self._shown(at, rest[0]) if rest else ""
        return (self.home(at, shown) or at) if shown else at

    def _shown(self, module: str, name: str) -> str:
        known = self.shown.get((module, name))
        if known is not None:
            return known
        for (one, star), path in self.shown.items():
            if one == module and star.startswith("*") and self._defines(self.home(one, path.removesuffix("::*")), name):
                return f"{path.removesuffix('::*')}::{name}"
        return ""

    def _defines(self, module: str, name: str) -> bool:
        return bool(re.search(rf"\b(?:struct|enum|trait|fn|const|static|type)\s+{name}\b", self.texts.get(module, "")))


def leaves(tree: str, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and full path of every leaf of a ``use`` tree; a star's name is ``*`` and its path."""
    tree = " ".join(tree.split())
    opening = tree.find("{")
    if opening < 0:
        path, _, alias = f"{before}{tree}".partition(" as ")
        path = path.removesuffix("::self").strip()
        last = path.rpartition("::")[2]
        yield (f"*{path}" if last == "*" else alias.strip() or last, path)
        return
    depth, begin = 0, opening + 1
    for at in range(opening, len(tree)):
        depth += {"{": 1, "}": -1}.get(tree[at], 0)
        if (tree[at] == "," and depth == 1) or depth == 0:
            part = tree[begin:at].strip()
            if part:
                yield from leaves(part, before + tree[:opening])
            begin = at + 1


@pytest.mark.parametrize("crate", CRATES)
def test_no_circle_of_rust_files(crate: str) -> None:
    """No file of a crate uses a name of a file that uses one of its own."""
    assert circle(Crate.read(RUST / crate / "src").imports()) == []


def test_the_reading_of_rust(tmp_path: Path) -> None:
    """Trees, shown names, stars, children and paths in the text are followed to the file that defines them; tests are left out."""
    files = {
        "lib.rs": "mod a;\npub mod b;\nmod c;\npub use a::{One, inner::{Two as Deux}};\npub use c::*;\n",
        "a/mod.rs": "mod inner;\nuse inner::Two;\npub struct One;\n",
        "a/inner.rs": "// use crate::b::Nothing;\nuse std::fmt;\npub struct Two;\n#[cfg(test)]\nmod tests { use super::super::One; }\n",
        "b.rs": 'use crate::{Deux, Three};\nfn f() { crate::a::one(); let _ = "crate::c::x"; }\n',
        "c.rs": "pub struct Three;\nuse super::a::{self, One};\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    drawn = Crate.read(tmp_path).imports()
    assert drawn == {
        "crate": {"crate::a", "crate::a::inner", "crate::c"},
        "crate::a": {"crate::a::inner"},
        "crate::a::inner": set(),
        "crate::b": {"crate::a::inner", "crate::c", "crate::a"},
        "crate::c": {"crate::a"},
    }
    assert circle(drawn) == []
    assert set(circle(drawn | {"crate::a::inner": {"crate::c"}})) >= {"crate::a", "crate::a::inner", "crate::c"}
