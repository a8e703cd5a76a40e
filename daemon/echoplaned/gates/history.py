"""What the workers had counted a while ago.

There the audit of a rollout's claims begins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from echoplaned.core.ids import VersionKey
from echoplaned.gates.claim_audit import SLACK_S
from echoplaned.ports.emit import Clock
from echoplaned.ports.request_counts import NOTHING, RequestCounts
from echoplaned.ports.traffic import TrafficSource

SAMPLE_S = 0.5


class CountHistory:
    """Running totals of the last few seconds.

    A request that was answered just before a rollout is reported just after its begin. So the audit begins with what ended
    ``SLACK_S`` before: all that came since, and what was under way then, may still be claimed.

    Args:
        source: of the totals.
        clock: seconds since the epoch.
    """

    def __init__(self, source: TrafficSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._began_s = clock()
        self._samples: deque[tuple[float, Mapping[VersionKey, RequestCounts]]] = deque()
        self.sample()

    @property
    def complete_from_s(self) -> float:
        """The time from which on the history covers every report.

        From then on it reaches back as far as a report can: claims from before that are of requests that nobody
        watched. In seconds since the epoch.
        """
        return self._began_s + SLACK_S

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            self.sample()

    def sample(self) -> None:
        """Take a sample, and forget those that are older than is needed."""
        now_s = self._clock()
        self._samples.append((now_s, dict(self._source.totals())))
        while len(self._samples) > 1 and now_s - self._samples[1][0] >= SLACK_S:
            self._samples.popleft()

    def claimable(self, version: VersionKey, now: RequestCounts) -> RequestCounts:
        """Return what of the totals up to now may still be reported.

        It has the counts since ``SLACK_S`` ago, with what was under way then as arrivals.

        Of a worker that an earlier daemon started, the first sample tells what was under way when this one began to watch it.
        """
        first = next((totals[version] for _, totals in self._samples if version in totals), NOTHING)
        since = now.since(self._samples[0][1].get(version, NOTHING))
        return replace(since, arrivals=since.arrivals + max(0, first.in_flight), in_flight=0)
