"""Paired probes: the same prompt to both versions at the same time.

Only pairs in which one version fails and the other does not say who is to blame. The null hypothesis is that in such a pair
the old version is at least as likely to be the failing one; the likelihood ratio of "the new one fails in a part t of them",
``(2t)^(new alone) (2 (1 - t))^(old alone)``, mixed over t, is an e-process (a sequential sign test). A version passes when it
answered ``probe_count`` pairs in a row; any failure of its own, shared by the old version or not, starts the row again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from echoplaned.gates.statistics.bets import log_sum

_TILTS = (0.75, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """The outcome of one prompt on both versions.

    Attributes:
        new_ok: whether the new version answered well.
        old_ok: whether the old one did.
        detail: why the new version failed, or else the old one.
        new_s: time that the new version took, in seconds.
        old_s: time that the old one took, in seconds.
    """

    new_ok: bool
    old_ok: bool
    detail: str = ""
    new_s: float = 0.0
    old_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """Counts of paired probes.

    Those of one version alone are over the whole rollout, the others of the window.

    Attributes:
        new_alone: pairs that the new version alone failed.
        old_alone: pairs that the old version alone failed.
        window_pairs: all pairs of the window.
        window_new_alone: of these, those that the new version alone failed.
        window_both: of these, those that both failed.
        row: pairs since the new version last failed.
        both_failed_last: whether both failed in the newest pair.
        detail: why the newest failure was one.
    """

    new_alone: int = 0
    old_alone: int = 0
    window_pairs: int = 0
    window_new_alone: int = 0
    window_both: int = 0
    row: int = 0
    both_failed_last: bool = False
    detail: str = ""

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against the new version."""
        terms = tuple(self.new_alone * math.log(2.0 * t) + self.old_alone * math.log(2.0 * (1.0 - t)) for t in _TILTS)
        return log_sum(terms) - math.log(len(_TILTS))


def update(evidence: PairEvidence, pair: PairOutcome) -> PairEvidence:
    """Add a pair."""
    new_alone = not pair.new_ok and pair.old_ok
    both = not pair.new_ok and not pair.old_ok
    return replace(
        evidence,
        new_alone=evidence.new_alone + new_alone,
        old_alone=evidence.old_alone + (pair.new_ok and not pair.old_ok),
        window_pairs=evidence.window_pairs + 1,
        window_new_alone=evidence.window_new_alone + new_alone,
        window_both=evidence.window_both + both,
        row=evidence.row + 1 if pair.new_ok else 0,
        both_failed_last=both,
        detail=pair.detail or evidence.detail,
    )


def next_window(evidence: PairEvidence) -> PairEvidence:
    """Begin a window: the row and the window's counts start again, what blames stays."""
    return PairEvidence(new_alone=evidence.new_alone, old_alone=evidence.old_alone)
