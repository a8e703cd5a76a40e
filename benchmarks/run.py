"""Runs the benchmarks, all or some, prints one table, and writes ``benchmarks/results/NAME.json``.

python -m benchmarks.run [NAME …]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from typing import Final

from rich.console import Console

from benchmarks import control, dtesn, footprint, load, micro_batching, push, rollout, walks
from benchmarks.reporting import Row, machine, show, write

BENCHMARKS: Final[Mapping[str, Callable[[], list[Row]]]] = {
    "footprint": footprint.measure,
    "load": load.measure,
    "control": control.measure,
    "dtesn": dtesn.measure,
    "push": push.measure,
    "rollout": rollout.measure,
    "micro_batching": micro_batching.measure,
    "walks": walks.measure,
}


def main() -> int:
    """Run what was asked for; a missed aim is shown, and is no failure: the machine may be busy."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Benchmarks as ratios in one run.")
    parser.add_argument("name", nargs="*", choices=[*BENCHMARKS, []], help=f"of {', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().name or list(BENCHMARKS)
    console = Console(width=None if os.isatty(1) else 150)
    results: list[tuple[str, list[Row]]] = []
    for name in names:
        load_average, began = os.getloadavg()[0], time.monotonic()
        console.print(f"== bench: {name}", highlight=False)
        rows = BENCHMARKS[name]()
        write(name, rows, machine(load_average))
        results.append((name, rows))
        console.print(f"   {time.monotonic() - began:.0f} s", highlight=False)
    show(console, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
