"""Follows one number and one name through the daemon's functions: which files they pass, and which types carry them.

A profile function sees each call of a Python function of ours, on every thread, and what it was given and what it returned. A file
is on the path of a walk where one of its functions was given, or gave, something that holds the walk's name or number. A form is a type
that holds the number in a field of its own: what is handed on inside of another type is one form, what is copied over is two.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from google.protobuf.message import Message

import echoplaned
from echoplaned.core.state import Model, State

PACKAGE: Final = Path(echoplaned.__file__).parent
EVERYTHING: Final = (State, Model)
"""Types that hold whatever there is: what they hold says nothing of the path."""

MAX_DEPTH: Final = 5
MAX_PARTS: Final = 24
LEFT_OUT: Final = ("testing/", "telemetry/", "__init__.py")
"""The log, the metrics and the fakes stand beside the path."""


@dataclass
class Walk:
    """What was seen.

    Attributes:
        name: the text that marks what belongs to the walk.
        number: the value whose forms are counted; nothing else in the walk is equal to it.
        files: path below ``echoplaned`` by the order of its first call.
        forms: module and name of each type that held the number, in the order of their first appearance.
    """

    name: str
    number: int
    files: dict[str, None] = field(default_factory=dict)
    forms: dict[str, None] = field(default_factory=dict)
    _ours: dict[CodeType, str] = field(default_factory=dict)

    def see(self, frame: FrameType, event: str, argument: object) -> None:
        """Take one event of the interpreter: a call's arguments, or what it returned."""
        path = self._path_of(frame.f_code)
        if not path:
            return
        if event == "call":
            given = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
            things = [frame.f_locals[name] for name in given if name in frame.f_locals and name != "self"]
        elif event == "return":
            things = [argument]
        else:
            return
        if any(self._holds(thing, MAX_DEPTH) for thing in things):
            self.files.setdefault(path)

    def _path_of(self, code: CodeType) -> str:
        """Return a function's file below the package; empty: it is not ours, or not on any path."""
        known = self._ours.get(code)
        if known is None:
            file = Path(code.co_filename)
            below = str(file.relative_to(PACKAGE)) if file.is_relative_to(PACKAGE) else ""
            known = "" if code.co_name.startswith("<") or below.endswith(LEFT_OUT[-1]) else below
            known = "" if known.startswith(LEFT_OUT[:-1]) else known
            self._ours[code] = known
        return known

    def _holds(self, thing: object, depth: int) -> bool:
        """Whether something holds the name or the number; notes each type that holds the number itself."""
        if isinstance(thing, str):
            return self.name in thing
        if type(thing) in {int, float}:
            return bool(thing == self.number)
        if depth == 0 or thing is None or isinstance(thing, (bool, bytes, *EVERYTHING)):
            return False
        parts = _parts(thing)
        if any(type(part) in {int, float} and part == self.number for part in parts) and _is_type_of_ours(thing):
            self.forms.setdefault(f"{type(thing).__module__}.{type(thing).__qualname__}")
        return any([self._holds(part, depth - 1) for part in parts])  # noqa: C419 - all of them, so that each form is noted

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        """Follow every call until the block's end; threads that are started meanwhile too."""
        threading.setprofile(self.see)
        sys.setprofile(self.see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def _parts(thing: object) -> list[object]:
    """Return what a value consists of: fields, items or elements; nothing of what is opaque."""
    if isinstance(thing, Message):
        return [value for _, value in thing.ListFields()]
    if is_dataclass(thing) and not isinstance(thing, type):
        return [getattr(thing, each.name, None) for each in fields(thing)]
    if isinstance(thing, Mapping):
        return [part for pair in list(thing.items())[:MAX_PARTS] for part in pair]
    if isinstance(thing, (tuple, list, frozenset, set)):
        return list(thing)[:MAX_PARTS]
    if type(thing).__module__.startswith("google._upb"):  # a repeated field
        return list(thing)[:MAX_PARTS] if hasattr(thing, "__iter__") else []
    return []


def _is_type_of_ours(thing: object) -> bool:
    return isinstance(thing, Message) or type(thing).__module__.startswith(("echoplaned", "echoplane"))
