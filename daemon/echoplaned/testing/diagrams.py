"""Draws the page of lifecycles from the core's tables.

``python -m echoplaned.testing.diagrams > docs/lifecycles.md``
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from echoplaned.core.signals import INSTANCE_ORIGINS, ROLLOUT_ORIGINS, SignalSource
from echoplaned.core.tables import INSTANCE_TABLE, ROLLOUT_TABLE, InstanceCell, RolloutCell

SignalT = TypeVar("SignalT", bound=StrEnum)


def diagram(arrows: Mapping[tuple[str, str], list[str]], start: str, ends: list[str]) -> str:
    """Return a Mermaid state diagram; signals that lead the same way share an arrow."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {a} --> {b}: {', '.join(signals)}" for (a, b), signals in arrows.items()]
    lines += [f"    {state} --> [*]" for state in ends]
    return "\n".join([*lines, "```"])


def _instances() -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, cells in INSTANCE_TABLE.items():
        for signal, cell in cells.items():
            arrows.setdefault((state.value, cell.state.value), []).append(_plain(signal))
    return diagram(arrows, "PENDING", [state.value for state, cells in INSTANCE_TABLE.items() if not cells])


def _rollouts() -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for phase, cells in ROLLOUT_TABLE.items():
        for signal, cell in cells.items():
            arrows.setdefault((phase.value, cell.phase.value), []).append(_plain(signal))
    return diagram(arrows, "PREPARING", [phase.value for phase, cells in ROLLOUT_TABLE.items() if not cells])


def _plain(signal: StrEnum) -> str:
    return signal.value.lower().replace("_", " ")


def _cells(rows: Iterator[tuple[str, str, str, str]]) -> list[str]:
    head = ["| in | signal | leads to | what is done |", "|---|---|---|---|"]
    return [*head, *(f"| {a} | {signal} | {b} | {what} |" for a, signal, b, what in rows)]


def _instance_rows() -> Iterator[tuple[str, str, str, str]]:
    for state, cells in INSTANCE_TABLE.items():
        for signal, cell in cells.items():
            yield state.value, _plain(signal), cell.state.value, _instance_action(cell)


def _rollout_rows() -> Iterator[tuple[str, str, str, str]]:
    for phase, cells in ROLLOUT_TABLE.items():
        for signal, cell in cells.items():
            yield phase.value, _plain(signal), cell.phase.value, _rollout_action(cell)


def _instance_action(cell: InstanceCell) -> str:
    return _plain(cell.action) + (f", then {cell.outcome.value}" if cell.outcome is not None else "")


def _rollout_action(cell: RolloutCell) -> str:
    more = f", then {cell.outcome.value}" if cell.outcome is not None else ""
    return _plain(cell.action) + more + (f" ({cell.hold.value})" if cell.hold is not None else "")


def _origins(origins: Mapping[SignalT, SignalSource]) -> list[str]:
    rows = [f"| {_plain(signal)} | {source.origin.value} | {source.when} |" for signal, source in origins.items()]
    return ["| signal | from | when |", "|---|---|---|", *rows]


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [
            "# Lifecycles",
            "",
            "Drawn from `daemon/echoplaned/core/tables.py` and `signals.py` by `make diagrams`; do not edit.",
            "",
            "## An instance (one engine process)",
            "",
            _instances(),
            "",
            *_cells(_instance_rows()),
            "",
            *_origins(INSTANCE_ORIGINS),
            "",
            "## A rollout (one update of a model)",
            "",
            _rollouts(),
            "",
            *_cells(_rollout_rows()),
            "",
            *_origins(ROLLOUT_ORIGINS),
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(page())
