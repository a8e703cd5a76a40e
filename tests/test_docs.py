"""What the documentation says of files is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FILE = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|rs|proto|md|txt|toml))`")
"""A path in backquotes: from the repository's root, the daemon's package or the client's."""

BASES = ("", "daemon/echoplaned", "clients/python/src/echoplane")

MADE = ("benchmarks/results",)
"""Folders that are written by running something."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    """Every path of a source file in a page leads to a file."""
    named = set(FILE.findall(page.read_text(encoding="utf-8")))
    missing = [
        path
        for path in sorted(named)
        if not path.startswith(MADE) and not any((ROOT / base / path).is_file() for base in BASES)
    ]
    assert missing == []
