"""Texts a second of one worker one by one and with many callers at once; `benchmarks.engine.micro_batching` measures it."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.reporting import Row
from benchmarks.world import minilm

SECONDS = 5


def measure() -> list[Row]:
    """Run it and read its JSON."""
    command = [sys.executable, "-m", "benchmarks.engine.micro_batching", str(minilm()), "--seconds", str(SECONDS)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures = json.loads(answer)
    one, many = float(figures["one_by_one_per_s"]), float(figures["at_once_per_s"])
    return [Row("texts, 32 callers in batches of 8", many, "1/s", "one by one", one)]
