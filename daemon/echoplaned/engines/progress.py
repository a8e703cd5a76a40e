"""Finds out whether an engine that reports also computes.

With calls in flight, no step for too long means that its model hangs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from echoplaned.worker_contract.report import Report


@dataclass(frozen=True, slots=True)
class HangLimits:
    """When a model counts as hung, and when it is probed to find out.

    Attributes:
        no_step_s: time with calls in flight and without a step, seconds; more where its steps take long.
        step_factor: multiple of the slowest step of the window, or of what the engine expects by a step's size, that one may take.
        window_s: time that a slow step is remembered, seconds.
        unprobed_s: time without a step, seconds, of an engine that nobody probes while it serves (a caller that reads nothing looks
            the same), or whose steps are not known yet.
        probe_after_s: time idle, or without a step, after which a probe is sent, seconds.
        probe_every_s: interval of the probes of a busy engine, so that wrong answers are seen too, seconds.
        idle_counted_s: part of the time without a step before a call came to an idle model that counts as well, seconds: one that
            hangs while it is idle is found by a probe that goes out after ``probe_after_s``, and all of it has to take less than 10 s.
            With the half second that a report is late and the quarters between two looks it is 9.5 s at most.
    """

    no_step_s: float = 8.0
    step_factor: float = 4.0
    window_s: float = 600.0
    unprobed_s: float = 60.0
    probe_after_s: float = 3.0
    probe_every_s: float = 5.0
    idle_counted_s: float = 2.5


class RecentMaximum:
    """The longest of some times within a window.

    Args:
        window_s: how long one is remembered.
        floor_s: shorter ones are not.
    """

    def __init__(self, window_s: float, floor_s: float) -> None:
        self._window_s = window_s
        self._floor_s = floor_s
        self._known: deque[tuple[float, float]] = deque()

    def note(self, took_s: float, now_s: float) -> None:
        """Remember one."""
        if took_s > self._floor_s:
            # Shorter ones before it can never be the longest again; what is kept decreases.
            while self._known and self._known[-1][1] <= took_s:
                self._known.pop()
            self._known.append((now_s, took_s))

    def value_s(self, now_s: float) -> float:
        """Return the longest; 0 where there is none."""
        while self._known and now_s - self._known[0][0] > self._window_s:
            self._known.popleft()
        return self._known[0][1] if self._known else 0.0


_STEPS_KNOWN: Final = 2
"""Steps after which it is known how long they take; the first one may have begun before anybody looked."""


class StepProgress:
    """The steps of one engine, by its reports and by the daemon's own probes.

    Args:
        limits: when it counts as hung.
        now_s: monotonic seconds, as in every method.
    """

    def __init__(self, limits: HangLimits, now_s: float) -> None:
        self._limits = limits
        self._count: int | None = None
        self._seen = 0
        self._calls = 0
        # Since when calls are in flight and no step came; moves with every step, and while nothing is in flight.
        self._since_s = now_s
        # Time without a step before that, which a probe should have ended sooner. Not part of any step: it moves no limit.
        self._idle_s = 0.0
        self._stepped_s = now_s
        self._probe_s: float | None = None
        self._probed_s = now_s
        self._expected_s = 0.0
        # Quick ones do not move the limit.
        self._slow = RecentMaximum(limits.window_s, limits.no_step_s / limits.step_factor)
        self.is_probed = False

    def take(self, report: Report, now_s: float) -> None:
        """Look at a report."""
        before = report.progress if self._count is None else self._count
        stepped = report.progress != before
        self._seen += max(0, report.progress - before)
        had_calls = self._has_calls
        if stepped and had_calls:
            self._note_step(now_s)
        self._count, self._calls = report.progress, report.counters.in_flight
        self._expected_s = report.step_expected_s
        if stepped:
            self._stepped_s = now_s
        if stepped or not self._has_calls:
            self._since_s, self._idle_s = now_s, 0.0
        elif not had_calls and self._expected_s:
            # A caller's first request may be a long one: only where the engine says what its step may take, idle time counts.
            self._idle_s = self._counted_idle_s(now_s)

    def probe_began(self, now_s: float) -> None:
        """A probe goes out: from now on a call is in flight, whatever the engine counts."""
        if not self._has_calls:
            self._since_s, self._idle_s = now_s, self._counted_idle_s(now_s)
        self._probe_s = now_s

    def probe_ended(self, now_s: float, *, answered: bool) -> None:
        """Note that a probe has ended.

        ``answered``: with an answer, which is a step also where the engine counts none.
        """
        if answered:
            self._note_step(now_s)
            self._seen += 1
            self._since_s = self._stepped_s = now_s
            self._idle_s = 0.0
        self._probe_s, self._probed_s = None, now_s

    def wants_probe(self, now_s: float) -> bool:
        """Whether a probe is due.

        It is where nothing is known of the model's health, or not since long enough.
        """
        if self._probe_s is not None:
            return False
        last_s = max(self._stepped_s, self._probed_s)
        return now_s - last_s >= self._limits.probe_after_s or now_s - self._probed_s >= self._limits.probe_every_s

    def forgive(self, gap_s: float) -> None:
        """Take time in which the daemon itself was not running off every account."""
        self._since_s += gap_s
        self._stepped_s += gap_s
        if self._probe_s is not None:
            self._probe_s += gap_s

    def limit_s(self, now_s: float) -> float:
        """Return how long calls may be in flight without a step."""
        if not self.is_probed or self._seen < _STEPS_KNOWN:
            return self._limits.unprobed_s
        longest_s = max(self._slow.value_s(now_s), self._expected_s)
        return max(self._limits.no_step_s, self._limits.step_factor * longest_s)

    def why_hung(self, now_s: float) -> str:
        """Say why the model counts as hung; empty if it does not."""
        still_s = now_s - self._since_s + self._idle_s
        if still_s <= self.limit_s(now_s):
            return ""
        calls = max(self._calls, 0 if self._probe_s is None else 1)
        return f"{calls} calls in flight and no step for {still_s:.0f} s"

    @property
    def _has_calls(self) -> bool:
        return self._calls > 0 or self._probe_s is not None

    def _counted_idle_s(self, now_s: float) -> float:
        """Return how long a model that was idle has made no step, as far as that counts."""
        return min(now_s - self._stepped_s, self._limits.idle_counted_s)

    def _note_step(self, now_s: float) -> None:
        """Remember how long a step took that came with calls in flight.

        Where a probe was sent meanwhile it is counted from there: a stream that its caller does not read is in flight too, and
        must not pass for a slow step, which would put the next hang off.
        """
        self._slow.note(now_s - max(self._since_s, self._probe_s or self._since_s), now_s)
