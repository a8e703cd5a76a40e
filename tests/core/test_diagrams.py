"""The documented lifecycles are the ones that run."""

from __future__ import annotations

from pathlib import Path

from echoplaned.testing.diagrams import page


def test_page_is_drawn_from_the_tables() -> None:
    """docs/lifecycles.md is what the tables say; `make diagrams` writes it."""
    written = Path(__file__).parents[2] / "docs" / "lifecycles.md"
    assert written.read_text(encoding="utf-8") == page()
