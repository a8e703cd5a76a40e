"""A change of weights until all streams have acknowledged it; `benchmarks/xds/push.py` measures it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.reporting import Row
from benchmarks.world import scratch

ROUNDS = 40
_RUNNER = Path(__file__).parent / "xds" / "push.py"
_LIMITS_MS = {1000: 100.0}


def measure() -> list[Row]:
    """Run it and read its table."""
    with scratch() as folder:
        output = folder / "push.json"
        command = [sys.executable, str(_RUNNER), "--rounds", str(ROUNDS), "--json", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        table = json.loads(output.read_text(encoding="utf-8"))["push_to_acknowledged"]
    by_what = {(line["what"], line["streams"]): line for line in table}
    rows = []
    for streams in sorted({streams for _, streams in by_what}):
        ours, bare = by_what["xds", streams], by_what["bare", streams]
        limit = _LIMITS_MS.get(streams)
        aim = f"p99 < {limit:g} ms" if limit else ""
        rows.append(Row(f"{streams:,} streams, p99", ours["p99_ms"], "ms", "bare", bare["p99_ms"], limit, aim))
        rows.append(Row("- median", ours["median_ms"], "ms", "bare", bare["median_ms"]))
    return rows
