"""One class name is one class: whoever reads a name need not ask which one is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "daemon" / "echoplaned", ROOT / "clients" / "python" / "src" / "echoplane")


def test_no_two_classes_have_one_name() -> None:
    """Neither within the daemon or the client, nor between them; generated code has the names of the protos."""
    homes = defaultdict[str, list[str]](list)
    for path in sorted(file for folder in SOURCES for file in folder.rglob("*.py") if "_pb2" not in file.name):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(ROOT)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
