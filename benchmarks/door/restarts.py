"""Restarts and deaths of the gateway and the daemon, under short requests and eight streams: what was lost, and when the next answer came.

python -m benchmarks.door.restarts [--quick]. The daemon is ended by SIGTERM and by kill -9, Envoy by kill -9, both at once, and last
Envoy is replaced by one of other settings, as a daemon that is started with them does (a hot restart).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks.door import running
from benchmarks.door.outages import Outage, Struck, fold, read, worst
from benchmarks.door.world import MODEL, START_S, Door, front_door, pause
from benchmarks.peers.door_watch import now_s
from benchmarks.reporting import Row
from benchmarks.world import hear, peer, say, wait_until
from echoplaned.gateway.records import EnvoyRecord, read_live
from echoplaned.testing.daemon import DaemonProcess

ROUNDS: Final = 3
STREAMS: Final = 8
TOKENS: Final = 30
INTERVAL_S: Final = 0.1
CALM_S: Final = 1.0
AFTERWARDS_S: Final = TOKENS * INTERVAL_S + 2.0
"""So that streams which were under way, and those begun just after, come to their end."""

BACK_S: Final = 60.0
NEXT_ANSWER_S: Final = 1.0
BOTH_DEAD_S: Final = 2.0

TERMINATED, KILLED, ENVOY, BOTH, HOT = (
    "the daemon: SIGTERM and a start", "the daemon: kill -9 and a start", "Envoy: kill -9", "both: kill -9 and a start", "hot restart",
)  # fmt: skip


def measure(*, quick: bool) -> list[Row]:
    """Run each case some times; the hot restart comes last, as the old Envoy stays for its drain."""
    seen: dict[str, list[Outage]] = {}
    with front_door(interval_s=INTERVAL_S) as door:
        for _ in range(1 if quick else ROUNDS):
            for name, strike in CASES.items():
                seen.setdefault(name, []).append(watched(door, name, strike))
        seen[HOT] = [watched(door, HOT, hot_restart)]
    return [row for name, outages in seen.items() for row in rows(name, outages)]


def watched(door: Door, name: str, strike: Callable[[Door], Struck]) -> Outage:
    """Strike while callers watch; return what they saw."""
    output = door.daemon.state_dir.parent / "watched.tsv"
    output.unlink(missing_ok=True)
    options = ("--streams", str(STREAMS), "--tokens", str(TOKENS))
    with peer("door_watch", door.listening, MODEL, str(output), *options) as callers:
        hear(callers)
        pause(CALM_S)
        struck = strike(door)
        wait_until(lambda: _is_back(output, struck), BACK_S, f"{name}: no request was answered afterwards")
        pause(AFTERWARDS_S)
        say(callers, "stop")
        hear(callers)
    outage = fold(read(output), struck)
    running.say(f"{name}: {outage}")
    return outage


def _is_back(output: Path, struck: Struck) -> bool:
    return any(each.ok and each.began_s >= struck.back_s for each in read(output))


def terminated(door: Door) -> Struck:
    """End the daemon as asked, and start it again."""
    gone_s = now_s()
    door.daemon.stop()
    return _started(door.daemon, gone_s)


def killed(door: Door) -> Struck:
    """Kill the daemon, and start it again."""
    gone_s = now_s()
    door.daemon.kill()
    return _started(door.daemon, gone_s)


def envoy_killed(door: Door) -> Struck:
    """Kill Envoy, and wait for the one that takes its place."""
    old = _newest(door.daemon)
    gone_s = now_s()
    os.kill(old.pid, signal.SIGKILL)
    wait_until(lambda: _serves_another(door.daemon, old), BACK_S, "no Envoy took its place")
    return Struck(gone_s, _start_of(_newest(door.daemon)))


def both_killed(door: Door) -> Struck:
    """Kill both, and start the daemon again; what counts is from its start on."""
    old = _newest(door.daemon)
    door.daemon.kill()
    os.kill(old.pid, signal.SIGKILL)
    gone_s = now_s()
    return _started(door.daemon, gone_s)


def hot_restart(door: Door) -> Struck:
    """Start the daemon with other settings of the gateway, so that Envoy is replaced.

    Raises:
        RuntimeError: the new one shares nothing with the old one, or did not come.
    """
    old = _newest(door.daemon)
    door.daemon.extra += ("--gateway-max-connections", "5000")
    gone_s = now_s()
    door.daemon.stop()
    struck = _started(door.daemon, gone_s)
    wait_until(lambda: _serves_another(door.daemon, old), BACK_S, "no Envoy took its place")
    wait_until(lambda: "gateway.replaced" in door.daemon.tail(50_000), BACK_S, "the new Envoy did not take over")
    if _newest(door.daemon).epoch != old.epoch + 1:
        raise RuntimeError("it was no hot restart")
    return Struck(gone_s, _start_of(_newest(door.daemon)), struck.serving_s)


CASES: Final[dict[str, Callable[[Door], Struck]]] = {
    TERMINATED: terminated,
    KILLED: killed,
    ENVOY: envoy_killed,
    BOTH: both_killed,
}


def rows(name: str, outages: list[Outage]) -> Iterable[Row]:
    """Return a case's rows: counts are of all rounds, times are the worst."""
    requests, streams = sum(each.requests for each in outages), sum(each.streams for each in outages)
    yield Row(f"{name}: short requests, {len(outages)} times", requests, "requests")
    yield Row(f"{name}: streams", streams, "streams")
    if name in {TERMINATED, KILLED, HOT}:
        yield Row(f"{name}: lost", sum(each.lost for each in outages), "requests", limit=0.0, aim="0")
        yield Row(f"{name}: cut", sum(each.cut for each in outages), "streams", limit=0.0, aim="0")
        return
    yield Row(f"{name}: lost in flight", sum(each.in_flight for each in outages), "requests")
    yield Row(f"{name}: cut", sum(each.cut for each in outages), "streams")
    yield Row(f"{name}: not answered until the next answer", sum(each.refused for each in outages), "requests")
    yield Row(f"{name}: failed after it", sum(each.later for each in outages), "requests", limit=0.0, aim="0")
    yield Row(f"{name}: next answer, from the kill", worst(each.answer_s for each in outages), "s")
    if name == BOTH:
        late = max(outages, key=lambda each: each.after_respawn_s - each.serving_s)
        limit, aim = late.serving_s + BOTH_DEAD_S, f"<= its start + {BOTH_DEAD_S:g} s"
        about = f"{name}: next answer, from the daemon's start"
        yield Row(about, late.after_respawn_s, "s", "until it serves", late.serving_s, limit, aim)
        return
    yield Row(f"{name}: respawn, from the kill", worst(each.respawn_s for each in outages), "s")
    after = worst(each.after_respawn_s for each in outages)
    yield Row(f"{name}: next answer, from the respawn", after, "s", limit=NEXT_ANSWER_S, aim=f"<= {NEXT_ANSWER_S:g} s")


def _started(daemon: DaemonProcess, gone_s: float) -> Struck:
    back_s = now_s()
    return Struck(gone_s, back_s, daemon.start(START_S))


def _newest(daemon: DaemonProcess) -> EnvoyRecord:
    return read_live(daemon.state_dir)[0]


def _serves_another(daemon: DaemonProcess, old: EnvoyRecord) -> bool:
    live = read_live(daemon.state_dir)
    return bool(live) and live[0].generation > old.generation and live[0].pid > 0


def _start_of(record: EnvoyRecord) -> float:
    """Return when its process was started, in seconds since boot."""
    return record.start_ticks / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure what was asked for."""
    options = running.parser("restarts", "Restarts and deaths of the gateway and the daemon under load.").parse_args()
    return running.run("restarts", lambda: measure(quick=options.quick), quick=options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
