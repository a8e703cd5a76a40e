"""What processes that load on order share: a line on stdin is an order, and a line on stdout what came of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.reporting import percentile


def sum_up(latencies_s: list[float], failed: Counter[str], taken_s: float, cpu_s: float) -> dict[str, object]:
    """Return a load's answers, failures, seconds, CPU seconds of the process that made it, and latencies in ms."""
    took_ms = [1000 * each for each in latencies_s] or [0.0]
    return {
        "answers": len(latencies_s), "failed": dict(failed), "seconds": taken_s, "cpu_s": cpu_s,
        "p50_ms": percentile(took_ms, 0.5), "p99_ms": percentile(took_ms, 0.99),
    }  # fmt: skip


def take_orders(load: Callable[[Any], Coroutine[Any, Any, dict[str, object]]]) -> None:
    """Load whenever told to, each time in an event loop of its own."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(load(json.loads(line)))), flush=True)
