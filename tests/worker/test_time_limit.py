"""Code of others is ended in time, whatever swallows errors on the way."""

from __future__ import annotations

import contextlib
import sys
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from echoplaned.worker.time_limit import TimeLimit
from echoplaned.worker_contract.inference.errors import FieldError

LIMIT_S = 0.05
LATE_S = 20.0
"""Whatever goes on for so long was not ended."""


class Target:
    """Something that can be referred to weakly, and has a finaliser of its own."""

    def __del__(self) -> None:
        spin()


def spin() -> None:
    """Take a while, in Python."""
    for _ in range(50):
        pass


def catching() -> None:
    """Catch whatever is an Exception, as jinja2 does."""
    with contextlib.suppress(Exception):
        spin()


def closing() -> None:
    """Close a generator, whose end runs code."""

    def numbers() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            spin()

    any(numbers())


def dropping() -> None:
    """Drop what has a finaliser."""
    Target()


def forgetting() -> None:
    """Drop what a weak reference's callback waits for."""
    target = {spin}
    found = weakref.ref(target, lambda _: spin())
    del target, found


@pytest.mark.parametrize("each_line", [True, False])
@pytest.mark.parametrize("step", [catching, closing, dropping, forgetting])
def test_it_is_ended(step: Callable[[], None], each_line: bool) -> None:
    """The error is swallowed wherever that can be, and the next look raises again."""
    tracer = sys.gettrace()
    began_s = time.monotonic()

    def go_on() -> None:
        with TimeLimit(LIMIT_S, FieldError("x", "too long"), each_line=each_line):
            while time.monotonic() < began_s + LATE_S:
                step()

    with pytest.raises(FieldError, match="too long"):
        go_on()
    assert time.monotonic() < began_s + LATE_S
    assert sys.gettrace() is tracer


def test_what_ends_in_time_is_left_alone() -> None:
    """And so is its error, and whoever traced before."""
    tracer = sys.gettrace()
    with TimeLimit(LATE_S, FieldError("x", "too long")):
        spin()
    with pytest.raises(ValueError, match="own"), TimeLimit(LATE_S, FieldError("x", "too long")):
        raise ValueError("own")
    assert sys.gettrace() is tracer


def test_what_others_swallow_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finaliser's own error goes where it went."""
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: seen.append(found.exc_type))

    class Bad:
        def __del__(self) -> None:
            raise ValueError("own")

    with TimeLimit(LATE_S, FieldError("x", "too long")):
        Bad()
    assert seen == [ValueError]
