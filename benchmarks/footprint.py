"""The daemon's memory, idle and with many ADS streams, and the time from its start to its first answer."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack

import psutil

from benchmarks.reporting import Row
from benchmarks.world import daemon, hear, peer
from echoplaned.testing.daemon import DaemonProcess

STREAMS = 1000
STARTS = 3
MODEL = "m"
_SETTLE_S = 2.0


def measure() -> list[Row]:
    """Start a daemon a few times on one state directory, then look at its memory before and with the streams."""
    with ExitStack() as stack:
        process = stack.enter_context(daemon(standby=0))
        starts = [restart(process) for _ in range(STARTS)]
        time.sleep(_SETTLE_S)
        idle = rss_mb(process)
        streams = stack.enter_context(peer("ads_streams", process.address, MODEL, str(STREAMS)))
        hear(streams)
        time.sleep(_SETTLE_S)
        busy = rss_mb(process)
    return [
        Row("start to first RPC", statistics.median(starts), "s", limit=2.0, aim="< 2 s"),
        Row("RSS idle", idle, "MB", limit=130.0, aim="< 130 MB"),
        Row(f"RSS with {STREAMS:,} ADS streams", busy, "MB", "idle", idle),
        Row("RSS a stream", (busy - idle) / STREAMS * 1000, "kB"),
    ]


def restart(process: DaemonProcess) -> float:
    """End the daemon and start it again, its schema made and its bytecode compiled; return the seconds to its first answer."""
    process.stop()
    return process.start()


def rss_mb(process: DaemonProcess) -> float:
    """Return the resident memory of the daemon's own process, in MB of 10^6 bytes."""
    assert process.process is not None
    return float(psutil.Process(process.process.pid).memory_info().rss) / 1e6
