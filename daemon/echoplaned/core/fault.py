"""An effect whose adapter raised: how often in a row, and when it is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EffectKey = tuple[str | int, ...]
"""What makes an effect idempotent: its kind, what it is about, and whatever tells it from the one before."""

RETRY_AFTER_S: Final = (1.0, 5.0, 30.0)
"""A key that failed is tried again after so long; when it has failed once more than there are entries, it is given up."""

RETRY_GIVEN_UP_S: Final = 60.0
"""Work that nobody else can do (routes, gates, drains, stops) is tried again so often after it was given up."""

_CARRIED: Final = frozenset({"place", "publish", "gates"})
"""Kinds whose key changes although the work stays the same: failures are counted over all keys of one subject."""

_WORK: Final = {
    "place": "placing",
    "start": "starting",
    "probe": "probing",
    "drain": "draining",
    "stop": "stopping",
    "publish": "publishing the routes of",
    "gates": "judging rollout",
}


_EVERY: Final = f"tried again every {RETRY_GIVEN_UP_S:g} s"
_CONSEQUENCES: Final = {
    "place": "the instance is given up",
    "start": "the instance is given up",
    "probe": "the instance is given up",
    "drain": f"its memory stays reserved; {_EVERY}",
    "stop": f"its memory stays reserved; {_EVERY}",
    "publish": f"the routes before stay in force; {_EVERY}",
    "gates": f"the stage is held; {_EVERY}",
}


def subject_of(key: EffectKey) -> EffectKey:
    """Return the part of an effect's key under which failures are counted."""
    return key[:2] if key[0] in _CARRIED else key


@dataclass(frozen=True, slots=True)
class AdapterFault:
    """An effect whose adapter raised. Observed, never stored: a restart tries anew.

    Attributes:
        key: of the effect that failed last.
        adapter: the part of the daemon that raised, for people.
        detail: what it raised.
        count: failures in a row.
        retry_at_s: not handed out again before, in seconds since the epoch.
    """

    key: EffectKey
    adapter: str
    detail: str
    count: int
    retry_at_s: float

    @property
    def is_given_up(self) -> bool:
        """Whether it failed so often that trying again soon will not help."""
        return self.count > len(RETRY_AFTER_S)

    @property
    def gives_up_now(self) -> bool:
        """Whether it is this failure that gives it up."""
        return self.count == len(RETRY_AFTER_S) + 1

    @property
    def text(self) -> str:
        """What failed, in a sentence without its end."""
        times = "once" if self.count == 1 else f"{self.count} times"
        return f"{_WORK[str(self.key[0])]} {self.key[1]} failed {times} in the {self.adapter} ({self.detail})"

    @property
    def alarm(self) -> str:
        """What failed and what that means, in a line for whoever looks after the daemon."""
        return f"{self.text}; {_CONSEQUENCES[str(self.key[0])] if self.is_given_up else 'it is tried again'}"

    def is_about(self, key: EffectKey) -> bool:
        """Whether a failure of that key would be one more of these."""
        return subject_of(key) == subject_of(self.key)

    def holds_back(self, key: EffectKey, now_s: float) -> bool:
        """Whether an effect has to wait.

        New routes and a new window are tried at once: they may be right where the ones before were not. A plan waits whatever its
        ledger, or else ten loads would use up the attempts of the eleventh.
        """
        waits = key == self.key or (key[0] == "place" and self.is_about(key))
        return waits and now_s < self.retry_at_s


def fail(before: AdapterFault | None, key: EffectKey, told: tuple[str, str], now_s: float) -> AdapterFault:
    """Return the fault of an effect after one more failure.

    Args:
        before: the same subject's last fault; None: there was none.
        key: key of the effect that failed.
        told: adapter, and what it raised.
        now_s: when, seconds since the epoch.
    """
    adapter, detail = told
    count = 1 if before is None else before.count + 1
    wait_s = RETRY_AFTER_S[count - 1] if count <= len(RETRY_AFTER_S) else RETRY_GIVEN_UP_S
    return AdapterFault(key, adapter, detail, count, now_s + wait_s)
