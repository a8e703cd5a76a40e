"""Draws ``docs/lifecycles.md`` from the core's tables: ``python -m echoplaned.testing.diagrams > docs/lifecycles.md``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from echoplaned.core.tables import INSTANCE_TABLE, ROLLOUT_TABLE

StateT = TypeVar("StateT", bound=StrEnum)
SignalT = TypeVar("SignalT", bound=StrEnum)


def diagram(table: Mapping[StateT, Mapping[SignalT, StateT]], start: str) -> str:
    """Return a Mermaid state diagram of a table; signals that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, cells in table.items():
        for signal, target in cells.items():
            arrows.setdefault((state.value, target.value), []).append(signal.value.lower().replace("_", " "))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {a} --> {b}: {', '.join(signals)}" for (a, b), signals in arrows.items()]
    lines += [f"    {state.value} --> [*]" for state, cells in table.items() if not cells]
    return "\n".join([*lines, "```"])


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [
            "# Lifecycles",
            "",
            "Drawn from `daemon/echoplaned/core/tables.py` by `make diagrams`; do not edit.",
            "",
            "## An instance (one engine process)",
            "",
            diagram(INSTANCE_TABLE, "PENDING"),
            "",
            "## A rollout (one update of a model)",
            "",
            "CLEANING ends in the rollout's outcome: ROLLED_BACK, FAILED or DELETED.",
            "",
            diagram(ROLLOUT_TABLE, "PREPARING"),
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(page())
