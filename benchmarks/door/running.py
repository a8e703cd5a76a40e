"""What the programs of this folder and of ``engine`` share: how one is asked for, and what it prints and writes at its end."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from benchmarks.reporting import Row, machine, show, write

WIDTH = 160


def parser(name: str, about: str, room: str = "door") -> argparse.ArgumentParser:
    """Return the options that every program has. ``room``: the folder that it is in."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{room}.{name}", description=about)
    made.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it works; the figures are written nowhere"
    )
    return made


def run(name: str, measure: Callable[[], Sequence[Row]], *, quick: bool, room: str = "door") -> int:
    """Measure, print one table, and write ``results/ROOM_NAME.json``; return the exit code.

    A quick run writes nothing: its figures are of sizes that say nothing.
    A missed aim is shown, and is no failure: the machine may be busy.
    """
    # By SIGTERM too: what was started here ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    load_average = os.getloadavg()[0]
    rows = measure()
    if not quick:
        write(f"{room}_{name}", rows, machine(load_average))
    show(console, [(f"{room}: {name}", rows)])
    return 0


def say(text: str) -> None:
    """Print a step at once."""
    print(text, flush=True)
