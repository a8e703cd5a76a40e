"""Runs a parser on one input after the other, and says what it ended with; anything but its own typed errors is a finding."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from google.protobuf.message import Message

from tests.fuzz.mutator import Mutator

HANG_S: Final = 1.0
"""Longest time that one input may take, in seconds of this thread's processor: of wall time a busy machine takes any amount."""

STUCK_S: Final = 60.0
"""After so long on one input every stack is printed and the process ends."""

GROWTH_BYTES: Final = 8 * 1024 * 1024
"""Resident bytes that may be gained after the first inputs: those that are kept are some of it."""

_WARM_INPUTS: Final = 500
_MAX_SHOWN: Final = 400
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed.

    Attributes:
        name: as it is printed.
        seeds: valid inputs.
        run: takes an input; returns, or raises one of ``refusals``.
        refusals: the typed errors of a bad input.
        message: makes an empty message where the inputs are such.
    """

    name: str
    seeds: tuple[bytes, ...]
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    message: Callable[[], Message] | None = None


@dataclass(slots=True)
class Found:
    """What a run came to. ``slowest_s``: of the processor, on one input. ``grown_bytes``: resident, since it was warm."""

    inputs: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    grown_bytes: int = 0

    def line(self, name: str, seconds: float) -> str:
        """Write it for the table."""
        accepted = self.endings["accepted"]
        return (
            f"{name:14} {self.inputs:9} inputs in {seconds:6.0f} s, {accepted} accepted, {len(self.endings)} kinds of endings, "
            f"slowest {1000 * self.slowest_s:.0f} ms, grown {self.grown_bytes / 2**20:.1f} MiB, {len(self.faults)} findings"
        )


def fuzz(target: Target, seed: int, goes_on: Callable[[int], bool]) -> Found:
    """Fuzz one target while ``goes_on`` says so of the inputs so far; stops at the tenth finding."""
    mutator, found = Mutator(target.seeds, Random(seed), target.message), Found()
    for data in target.seeds:
        target.run(data)  # a seed that is refused is a mistake here
    warm_bytes = 0
    while goes_on(found.inputs) and len(found.faults) < 10:
        data = mutator.next()
        faulthandler.dump_traceback_later(STUCK_S, exit=True)
        before_s = time.thread_time()
        ending = _run_once(target, data, found)
        found.slowest_s = max(found.slowest_s, time.thread_time() - before_s)
        if time.thread_time() - before_s > HANG_S:
            found.faults.append(f"input {found.inputs} took over {HANG_S} s: {data[:_MAX_SHOWN]!r}, {len(data)} bytes")
        found.inputs += 1
        if ending not in found.endings:
            mutator.keep(data)
        found.endings[ending] += 1
        if found.inputs == _WARM_INPUTS:
            warm_bytes = resident_bytes()
    faulthandler.cancel_dump_traceback_later()
    found.grown_bytes = max(0, resident_bytes() - warm_bytes) if warm_bytes else 0
    return found


def _run_once(target: Target, data: bytes, found: Found) -> str:
    """Run one input; name how it ended, by the place that refused it."""
    try:
        target.run(data)
    except target.refusals as error:
        return f"{type(error).__name__} {_place(error)}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        found.faults.append(
            f"input {found.inputs}: {type(error).__name__}: {str(error)[:_MAX_SHOWN]} at {_place(error)}: "
            f"{data[:_MAX_SHOWN]!r}, {len(data)} bytes"
        )
        return f"fault {type(error).__name__}"
    return "accepted"


def _place(error: BaseException) -> str:
    """Return file and line that raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last is not None else ""


def resident_bytes() -> int:
    """Return the resident bytes of this process, without what its heap has free: inputs of 5 MiB leave holes."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def names(targets: Sequence[Target]) -> list[str]:
    """Return what a test calls its cases."""
    return [target.name for target in targets]
