"""Measures parts of the benchmark and puts their rows into ``benchmarks/results/dtesn.json``, where the others stay.

python -m benchmarks.dtesn PART …
"""

from __future__ import annotations

import argparse
import os
from typing import Final

from rich.console import Console

from benchmarks.dtesn import PARTS
from benchmarks.reporting import machine, show, update

# The names of the other parts' rows hold figures: none of them could take the place of an older one.
_PARTS: Final = ("speed", "quality", "washout")


def main() -> None:
    """Measure what was asked for, print it and keep it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dtesn", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="+", choices=_PARTS)
    results = []
    for part in parser.parse_args().part:
        load_average = os.getloadavg()[0]
        rows = PARTS[part]()
        update("dtesn", part, rows, machine(load_average))
        results.append((part, rows))
    show(Console(width=None if os.isatty(1) else 150), results)


if __name__ == "__main__":
    main()
