"""What every benchmark returns, the machine it ran on, and the table that is printed."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_CPU_FACTS = Path("/proc/cpuinfo")
_PACKAGES = ("grpcio", "protobuf", "sqlalchemy", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value, in ``unit``.

    ``reference``: what stands beside it, measured in the same run, with its value. ``limit``: the value that should not be
    passed; None where there is no aim, and ``aim`` says in words where it comes from.
    """

    name: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    limit: float | None = None
    aim: str = ""

    @property
    def ratio(self) -> float | None:
        """The value by its reference."""
        return self.value / self.reference_value if self.reference_value else None

    @property
    def met(self) -> bool | None:
        """Whether the aim was met; None: there is none."""
        return None if self.limit is None else self.value <= self.limit

    def record(self) -> dict[str, object]:
        """Return it with what follows from it, for JSON."""
        derived = {"ratio": self.ratio, "met": self.met}
        return {name: _rounded(value) for name, value in {**asdict(self), **derived}.items()}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when a benchmark ran, as far as it explains the figures; nothing that names the machine.

    ``cpu``: the processor's model. ``commit``: of the sources, with ``+`` where files differ from it; empty: there is no history.
    """

    cpu: str
    commit: str
    cores: int
    memory_gib: float
    load_average_before: float
    load_average_after: float
    python: str
    packages: dict[str, str]


def machine(load_average_before: float) -> Machine:
    """Return this machine's facts, after a benchmark. Load averages are over one minute."""
    return Machine(
        cpu=_cpu(),
        commit=_commit(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load_average_before=round(load_average_before, 2),
        load_average_after=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
    )


def write(name: str, rows: Sequence[Row], facts: Machine) -> None:
    """Write ``results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    content = {"benchmark": name, "machine": asdict(facts), "rows": [row.record() for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def update(name: str, part: str, rows: Sequence[Row], facts: Machine) -> None:
    """Put a part's rows into ``results/NAME.json`` in the place of those with the same names, behind the others.

    The machine of the whole run stays; that of the part is kept beside it.
    """
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {row.name for row in rows}
    kept = [row for row in content.pop("rows") if row["name"] not in names]
    content.setdefault("measured_later", {})[part] = asdict(facts)
    content["rows"] = [*kept, *(row.record() for row in rows)]
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show(console: Console, results: Iterable[tuple[str, Sequence[Row]]]) -> None:
    """Print one table of all benchmarks."""
    table = Table(title="Benchmarks: medians; each reference was measured in the same run")
    for column in ("benchmark", "what"):
        table.add_column(column)
    for column in ("value", "reference", "ratio", "aim", "met"):
        table.add_column(column, justify="left" if column in {"reference", "aim"} else "right")
    for name, rows in results:
        for number, row in enumerate(rows):
            table.add_row("" if number else name, *_cells(row))
        table.add_section()
    console.print(table)


def median_ms(seconds: Iterable[float]) -> float:
    """Return the median of some times in seconds, in milliseconds."""
    return statistics.median(seconds) * 1000


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that a share of the values does not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _cpu() -> str:
    lines = _CPU_FACTS.read_text(encoding="utf-8").splitlines() if _CPU_FACTS.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(RESULTS.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        # Results that were written a moment ago say nothing of what was measured.
        changed = git("status", "--porcelain", "--", ":/", f":(exclude){RESULTS.name}")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _cells(row: Row) -> tuple[str, ...]:
    reference = "" if row.reference_value is None else f"{row.reference} {row.reference_value:,.4g}"
    met = {None: "", True: "[green]yes[/green]", False: "[red]NO[/red]"}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return row.name, f"{row.value:,.4g} {row.unit}", reference, ratio, row.aim, met


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
