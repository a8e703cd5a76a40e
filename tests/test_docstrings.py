"""Docstrings have one form: a short sentence first, and a line for each field of a class."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "daemon" / "echoplaned", ROOT / "clients" / "python" / "src")
FILES = sorted(path for folder in SOURCES for path in folder.rglob("*.py") if "_pb2" not in path.name)
MAX_CHARACTERS = 80

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_ENTRY = re.compile(r" {4}(\w+): \S")
_ENUMS = frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "IntFlag"})


def name_of(path: Path) -> str:
    """Return a file's path from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def documented(node: ast.AST, within: str = "") -> Iterator[tuple[str, Documented]]:
    """Yield whatever may have a docstring, with its name from the module on."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{within}{child.name}"
            yield name, child
            yield from documented(child, f"{name}.")
        else:
            yield from documented(child, within)


def find_wrong_first_lines(file: str, source: str) -> list[str]:
    """Return what is wrong with the first lines of a file's docstrings, each with what to do."""
    tree = ast.parse(source)
    wrong = []
    for name, node in [("the module", tree), *documented(tree)]:
        first = (ast.get_docstring(node) or ".").partition("\n")[0]
        at = f"{file}:{getattr(node, 'lineno', 1)}: the first line of {name}'s docstring"
        if len(first) > MAX_CHARACTERS:
            wrong.append(
                f"{at} has {len(first)} characters: make it one sentence of at most {MAX_CHARACTERS}, "
                "and say the rest below, after an empty line"
            )
        if not first.endswith((".", "?", "!")):
            wrong.append(
                f"{at} ends in the middle, with {first[-20:]!r}: make it one whole sentence with its full stop"
            )
    return wrong


def fields_of(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """Return the annotated fields that a class shows: none of an enumeration, no ClassVar, none with an underscore."""
    if any(ast.unparse(base).rpartition(".")[2] in _ENUMS for base in node.bases):
        return []
    return [
        field
        for field in node.body
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and not field.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(field.annotation)
    ]


def described(docstring: str) -> set[str]:
    """Return the names that have a text in a docstring's section ``Attributes``."""
    names: set[str] = set()
    within = False
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            within = line == "Attributes:"
        elif within and (entry := _ENTRY.match(line)):
            names.add(entry[1])
    return names


def find_fields_without_text(file: str, source: str) -> list[str]:
    """Return the fields of a file's classes that no line describes, each with what to do."""
    missing = []
    for name, node in documented(ast.parse(source)):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        known = described(ast.get_docstring(node) or "")
        missing += [
            f"{file}:{field.lineno}: {name}.{field.target.id} has no text: add `{field.target.id}: what it is, unit, range.` "
            f"to `Attributes:` in the docstring of {name}"
            for field in fields_of(node)
            if isinstance(field.target, ast.Name) and field.target.id not in known
        ]
    return missing


def find_everywhere(find: Callable[[str, str], list[str]]) -> list[str]:
    """Return what is wrong in any of the files."""
    return [wrong for path in FILES for wrong in find(name_of(path), path.read_text(encoding="utf-8"))]


def test_first_lines_are_short_sentences() -> None:
    """The first line of every docstring, public or private, is one sentence of at most 80 characters."""
    wrong = find_everywhere(find_wrong_first_lines)
    assert not wrong, "\n".join(wrong)


def test_every_field_has_its_line() -> None:
    """Every public class names each of its annotated fields under ``Attributes:``."""
    missing = find_everywhere(find_fields_without_text)
    assert not missing, "\n".join(missing)


def test_the_files_are_found() -> None:
    """Both trees are read, without generated code."""
    assert len(FILES) > 300
    assert {"daemon/echoplaned/settings.py", "clients/python/src/echoplane/client.py"} <= set(map(name_of, FILES))


LONG = "A line with more than eighty characters is too long to be read at a glance, as this."

FIRST_LINES = f'''"""The first line
goes on."""

class Box:
    """{LONG}"""

    async def open(self):
        """Open it."""
        def lid():
            """Lift it"""

def close():
    pass
'''


def test_a_wrong_first_line_is_named_with_its_place() -> None:
    """Modules, classes and functions within functions are read; what has no docstring is left to the linter."""
    module, box, lid = find_wrong_first_lines("box.py", FIRST_LINES)
    assert module.startswith("box.py:1: the first line of the module's docstring ends in the middle")
    assert box.startswith(f"box.py:4: the first line of Box's docstring has {len(LONG)} characters: make it")
    assert lid.startswith("box.py:9: the first line of Box.open.lid's docstring ends in the middle, with 'Lift it'")


FIELDS = '''
class Box:
    """A box.

    Attributes:
        width: inner width, mm.
        height: inner height, mm; a longer text
            depth: is no entry where it goes on.

    Raises:
        weight: no field's text.
    """

    most: ClassVar[int] = 3
    width: float
    height: float
    depth: float
    weight: float = 0.0
    _lid: bool = False

class _Hidden:
    """A class of this file's own."""

    field: int

class Colour(enum.StrEnum):
    """A colour."""

    label: str
    RED = "red"

class Empty:
    """A class whose field stands in prose.

    size: how large.
    """

    size: int
'''


def test_a_field_without_a_line_is_named_with_its_place() -> None:
    """Only entries of ``Attributes:`` count; enumerations, ClassVar and what has an underscore need none."""
    depth, weight, size = find_fields_without_text("box.py", FIELDS)
    assert depth.startswith("box.py:17: Box.depth has no text: add `depth: ")
    assert weight.startswith("box.py:18: Box.weight has no text")
    assert size.startswith("box.py:38: Empty.size has no text")
    assert size.endswith("to `Attributes:` in the docstring of Empty")
