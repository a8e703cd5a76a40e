"""Ends Python code of others, in its thread, once a time limit has passed.

The interpreter is asked to look before each line, or at each call, and the look raises. Two things would swallow that, and the
interpreter looks no more once a look has raised: ``except Exception`` in the code (jinja2 has several), so what is raised is none; and
finalisers (a generator that is closed, ``__del__``, a weak reference's callback), whose exceptions go to ``sys.unraisablehook``, where
the looks begin anew.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from echoplaned.worker_contract.inference.errors import FieldError


class _TimeIsOverError(BaseException):
    """Passes through everything that catches errors."""


class TimeLimit:
    """Raises in the current thread's Python code once a time limit has passed.

    Args:
        limit_s: seconds that the block may take.
        late: what is raised then.
        each_line: look before each line, which bounds any loop; else at calls alone, which is quicker where there are many of them.
        passes: begins the names of modules whose lines are not looked at: their functions are bounded.
    """

    def __init__(self, limit_s: float, late: FieldError, *, each_line: bool = True, passes: str = "\0") -> None:
        self._limit_s = limit_s
        self._late = late
        self._each_line = each_line
        self._passes = passes
        self._ends_s = 0.0
        self._is_over = False
        self._tracer: Any = None
        self._outer: TimeLimit | None = None

    def __enter__(self) -> None:
        _watch_finalisers()
        self._ends_s = time.monotonic() + self._limit_s
        self._tracer, self._outer = sys.gettrace(), getattr(_ACTIVE, "limit", None)
        _ACTIVE.limit = self
        sys.settrace(self._look)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise what the block takes too long for, also where it ended in spite of that."""
        sys.settrace(self._tracer)
        _ACTIVE.limit = self._outer
        if self._is_over:
            raise self._late from None

    def go_on(self) -> None:
        """Look on, after a look's error was swallowed."""
        sys.settrace(self._look)

    def _look(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401 - a trace function returns the next one
        del event, argument
        if frame.f_code is _EXIT:
            return None
        if time.monotonic() > self._ends_s:
            self._is_over = True
            raise _TimeIsOverError
        within = self._each_line and not frame.f_globals.get("__name__", "").startswith(self._passes)
        return self._look if within else None


_ACTIVE: Final = threading.local()
_EXIT: Final = TimeLimit.__exit__.__code__


def _watch_finalisers() -> None:
    """See what finalisers swallow, whoever else does; once for the process."""
    former = sys.unraisablehook
    if not isinstance(former, _Hook):
        sys.unraisablehook = _Hook(former)


class _Hook:
    """Has the limit of the thread go on where a finaliser swallowed its error."""

    def __init__(self, former: Callable[[sys.UnraisableHookArgs], Any]) -> None:
        self._former = former

    def __call__(self, found: sys.UnraisableHookArgs, /) -> None:
        limit: TimeLimit | None = getattr(_ACTIVE, "limit", None)
        if limit is not None and isinstance(found.exc_value, _TimeIsOverError):
            limit.go_on()
        else:
            self._former(found)
