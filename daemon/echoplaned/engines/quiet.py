"""Waits until a draining instance is quiet.

It is where nothing is in flight and nothing came lately, by what its engine can count.
"""

from __future__ import annotations

from typing import Final

from echoplaned.engines.instance import REPORT_INTERVAL_S, WatchedInstance

QUIET_S: Final = 5.0
"""An instance is quiet when no call is in flight and none arrived for so long; the daemon's own probes are none."""

SETTLE_S: Final = 1.0
"""A drain takes at least so long: a client acknowledges routes a moment before it follows them."""


async def wait_until_quiet(watched: WatchedInstance) -> None:
    """Return when an engine reports no call in flight and none that arrived lately.

    One that counts neither is quiet when its model made no step for ``QUIET_S``: unset is not zero. The daemon's own probes are steps
    as well, and come more often than that, so none is sent meanwhile; a model that hangs then is ended by the drain's deadline.
    """
    try:
        await _wait_until_quiet(watched)
    finally:
        watched.is_quieting = False


async def _wait_until_quiet(watched: WatchedInstance) -> None:
    steps, still_s = -1, 0.0
    while True:
        report = await watched.next_report()
        watched.is_quieting = not report.flags.counts_arrivals
        if report.flags.counts_arrivals:
            if report.counters.in_flight == 0 and (report.idle_s is None or report.idle_s >= QUIET_S):
                return
            continue
        still_s = still_s + REPORT_INTERVAL_S if report.progress == steps else 0.0
        steps = report.progress
        if still_s >= QUIET_S:
            return


async def wait_for_calls(watched: WatchedInstance) -> None:
    """Return when an engine reports no call in flight.

    Never, where it counts none or does not report.
    """
    while True:
        report = await watched.next_report()
        if report.flags.counts_arrivals and report.counters.in_flight == 0:
            return
