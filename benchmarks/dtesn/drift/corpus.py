"""The text the small Llama learns: this Python's standard library, and those of the repository's files that do not change.

Three kinds of text, which are the prompt classes of the suite: source code, prose (docstrings and the language reference) and
data (tables of code points, entities, messages). Pages that change with every commit are left out: each change would ask for
another model. A file in ten is held out whole; prompts and the stated loss come from these.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KINDS: Final = ("code", "prose", "data")
_REPOSITORY: Final = Path(__file__).parents[3]
_LIBRARY: Final = Path(sysconfig.get_path("stdlib"))
# Packages that every distribution of Python has; tests, the editor and what is built on the machine are not among them.
# fmt: off
_PACKAGES: Final = (
    "asyncio", "collections", "concurrent", "ctypes", "curses", "dbm", "email", "encodings", "html", "http",
    "importlib", "json", "logging", "multiprocessing", "pydoc_data", "re", "sqlite3", "tomllib", "unittest",
    "urllib", "venv", "wsgiref", "xml", "xmlrpc", "zoneinfo",
)
# fmt: on
_DATA_PACKAGES: Final = ("encodings",)
_DATA_FILES: Final = (
    "html/entities.py",
    "stringprep.py",
    "keyword.py",
    "token.py",
    "stat.py",
    "opcode.py",
    "mimetypes.py",
)
_HELD_OUT_OF: Final = 10


@dataclass(frozen=True, slots=True)
class Document:
    """One file's text of one kind. ``name``: its path in the library or the repository."""

    name: str
    kind: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether nothing is trained on it; by its name, so that it holds for all of a file's kinds."""
        return hashlib.sha256(self.name.encode()).digest()[0] % _HELD_OUT_OF == 0


@functools.cache
def documents() -> tuple[Document, ...]:
    """Return all documents, in the order of their names."""
    found = [*_library(), *_repository()]
    return tuple(sorted(found, key=lambda document: (document.name, document.kind)))


def digest(texts: tuple[Document, ...]) -> str:
    """Return the digest of names, kinds and texts, in hexadecimal."""
    total = hashlib.sha256()
    for document in texts:
        for part in (document.name, document.kind, document.text):
            total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()


def _library() -> Iterator[Document]:
    paths = list(_LIBRARY.glob("*.py"))
    for package in _PACKAGES:
        paths += [path for path in (_LIBRARY / package).rglob("*.py") if "test" not in path.parts]
    for path in paths:
        name = path.relative_to(_LIBRARY).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        if name.startswith("_sysconfigdata"):
            continue  # says how this machine's Python was built
        if name.startswith("pydoc_data/"):
            yield from _topics(name, text)
            continue
        data = name.split("/", 1)[0] in _DATA_PACKAGES or name in _DATA_FILES
        yield Document(name, "data" if data else "code", text)
        prose = _docstrings(text)
        if prose:
            yield Document(name, "prose", prose)


def _topics(name: str, text: str) -> Iterator[Document]:
    """Yield each topic of the language reference, which the library keeps as one dictionary of strings."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield Document(f"{name}#{key.value}", "prose", value.value)


def _docstrings(text: str) -> str:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    found = [ast.get_docstring(node) for node in nodes]
    return "\n\n".join(prose for prose in found if prose)


def _repository() -> Iterator[Document]:
    yield Document("LICENSE", "prose", (_REPOSITORY / "LICENSE").read_text(encoding="utf-8"))
    for path in (_REPOSITORY / "proto" / "third_party").rglob("*.proto"):
        yield Document(path.relative_to(_REPOSITORY).as_posix(), "code", path.read_text(encoding="utf-8"))
