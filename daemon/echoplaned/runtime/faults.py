"""Faults of adapters: caught here, logged once, reported to the loop as events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from echoplaned.core.events import AdapterFailed
from echoplaned.core.fault import EffectKey, subject_of
from echoplaned.ports.emit import Clock, Emit

MAX_DETAIL: Final = 200
MAX_LOGGED_RETAINED: Final = 1000

_ADAPTERS: Final = {
    "place": "planner",
    "start": "engines",
    "probe": "engines",
    "drain": "engines",
    "stop": "engines",
    "publish": "xds",
    "gates": "gates",
}
"""Which part does an effect, by the first word of its key."""

log = structlog.get_logger(__name__)


@contextmanager
def contain(failed: Callable[[BaseException], None]) -> Iterator[None]:
    """Catch whatever the body raises, and report it.

    Let out are only a cancellation, the end of a generator, and a person's wish that the process end.

    This is the one place where everything is caught. What an adapter may raise is not known here: a mistake of ours, of a library, or a
    panic in Rust, which is a BaseException and no Exception (pyo3's PanicException). Each concerns one model; let out, it would end the
    loop, and with it the control of every other model, and would come again at the next start.
    """
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        failed(error)


async def run_contained(work: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[BaseException], None]) -> None:
    """Run an adapter's job; what it raises is reported."""
    with contain(failed):
        await work()


class AdapterFaults:
    """Reports every fault of an adapter to the loop, and logs every new one.

    Attributes:
        counts: faults since the daemon started, by adapter.
    """

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self._emit = emit
        self._clock = clock
        self._logged: dict[tuple[object, ...], None] = {}

    def report(self, key: EffectKey, error: BaseException) -> None:
        """Report that the work of an effect raised (a ``ports.faults.ReportFault``)."""
        adapter = _ADAPTERS.get(str(key[0]), str(key[0]))
        self.note(adapter, subject_of(key), error)
        self._emit(AdapterFailed(self._clock(), key, adapter, describe(error)))

    def note(self, adapter: str, subject: EffectKey, error: BaseException) -> None:
        """Count and log a fault from which nothing follows.

        The same one again is only counted.
        """
        self.counts[adapter] += 1
        mark = (adapter, subject, describe(error))
        if mark in self._logged:
            return
        if len(self._logged) >= MAX_LOGGED_RETAINED:
            del self._logged[next(iter(self._logged))]
        self._logged[mark] = None
        log.error("adapter.failed", adapter=adapter, subject=list(subject), exc_info=error)


def describe(error: BaseException) -> str:
    """Return what was raised in one short line.

    An error that cannot say what it is stands there by its type alone.
    """
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an adapter's own __str__ may be broken too, and its fault must still be told
        text = ""
    line = f"{name}: {text}" if text else name
    return line if len(line) <= MAX_DETAIL else f"{line[: MAX_DETAIL - 1]}…"
