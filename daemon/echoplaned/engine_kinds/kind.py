"""The form of the declaration of an engine kind.

What it takes, where it listens, and how its leader is started.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.failure import InvalidField
from echoplaned.core.numbers import read_whole
from echoplaned.core.spec import Tier
from echoplaned.engine_kinds.foreign import ForeignEngine

PYTHON: Final = "{python}"
"""Stands for the interpreter in a command line."""

DEVICE_ORDER: Final[Mapping[str, str]] = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Has CUDA count GPUs as NVML does, by whose numbers the planner names them; by itself it counts the fastest first."""


class OptionType(StrEnum):
    """What the text of an option must be."""

    WHOLE_NUMBER = "WHOLE_NUMBER"
    TEXT = "TEXT"
    FLAG = "FLAG"
    """``1`` or ``0``."""


@dataclass(frozen=True, slots=True)
class Option:
    """One engine option that a caller may set.

    Attributes:
        name: key in ``engine_options``.
        description: what it does, in one sentence.
        type: form that its text must have.
        minimum: smallest value of a whole number.
        maximum: largest value of a whole number.
        default: text where the caller gives none.
        choices: texts that it may be, in capitals or not; empty: any.
        pattern: regular expression that a text must match as a whole; empty: any text does.
    """

    name: str
    description: str
    type: OptionType = OptionType.TEXT
    minimum: int = 0
    maximum: int = 0
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def problem(self, text: str) -> str:
        """Say what is wrong with a value; empty if nothing is."""
        if self.type is OptionType.WHOLE_NUMBER:
            number = read_whole(text)
            if number is None or not self.minimum <= number <= self.maximum:
                return f"must be a whole number from {self.minimum} to {self.maximum}"
        elif self.type is OptionType.FLAG:
            return "" if text in {"0", "1"} else "must be 0 or 1"
        elif self.choices and text.upper() not in {choice.upper() for choice in self.choices}:
            return f"must be one of {', '.join(self.choices)}"
        elif self.pattern and not re.fullmatch(self.pattern, text):
            return f"must match {self.pattern}"
        return ""


@dataclass(frozen=True, slots=True)
class KindLimits:
    """How long an engine of a kind may take, in seconds.

    Attributes:
        standby_s: time from the spawn until its leader can take an order, seconds.
        start_s: time of a whole start, whatever progress it shows, seconds.
        start_quiet_s: time of a start without progress: no step, no growth of its memory, seconds.
        start_silence_s: time of a start without a report of its leader, seconds.
        probe_s: time of all golden probes of an instance together, seconds.
    """

    standby_s: float = 600.0
    start_s: float = 3600.0
    start_quiet_s: float = 300.0
    start_silence_s: float = 60.0
    probe_s: float = 480.0


@dataclass(frozen=True, slots=True)
class EngineKind:
    """A kind of engine.

    Attributes:
        name: name as callers, records and the store write it.
        title: description of it in messages.
        command: leader's command line but for ``--worker-id`` and ``--state-dir``; ``{python}`` stands for the interpreter.
        environment: makes what is set for its leader beside the daemon's own environment; ``exact``: hand freed memory back at once.
        version: makes the name that measurements in such an environment are kept under; reads metadata, imports nothing.
        protocols: protocols of its endpoints, by the names of ``core.endpoints.EndpointProtocol``; the first is the one that is probed.
        options: options that a caller may set.
        formats: formats of files that it reads weights from.
        weights_formats: ways in which weights may be packed beyond what a dtype says; the empty text: not at all.
        tiers: tiers in which it can keep a version.
        has_standby: whether a leader may be started before it has an instance.
        measures_free_memory: whether it takes what is free on its device at start, so that two starts there must not overlap.
        is_calibrated: whether the planner corrects its sizes by what its processes measured.
        is_split: whether it may spread one instance over several devices.
        threads_option: name of the option for the threads of one inference; empty: there is none.
        limits: times that it may take.
        tasks: tasks that it can serve models for.
        foreign: how the supervisor handles it; None: it leads itself.
        sized_as: name that its memory is planned under; empty: its own.
        packed: methods by which a checkpoint's weights may be packed, as its config names them.
        dtypes: dtypes that weights may be cast to at a load.
        memory_option: option by which a load says what an instance takes, bytes, where nothing is known of the engine; empty: none.
        modules: Python modules that its leader imports, by their top-level names; all must be installed beside the daemon.
        install: command that installs them; empty where ``modules`` is.
        missing: those of ``modules`` that are not installed here (``installed.find_missing``); empty: none.
    """

    name: str
    title: str
    command: tuple[str, ...]
    environment: Callable[[Mapping[str, str], bool], dict[str, str]]
    version: Callable[[Mapping[str, str]], str]
    protocols: tuple[str, ...]
    options: tuple[Option, ...] = ()
    formats: frozenset[str] = frozenset()
    weights_formats: frozenset[str] = frozenset({""})
    tiers: frozenset[Tier] = frozenset({Tier.HOT})
    has_standby: bool = False
    measures_free_memory: bool = False
    is_calibrated: bool = False
    is_split: bool = True
    threads_option: str = ""
    limits: KindLimits = KindLimits()
    tasks: frozenset[Task] = frozenset(Task)
    foreign: ForeignEngine | None = None
    sized_as: str = ""
    memory_option: str = ""
    packed: frozenset[str] = frozenset()
    dtypes: frozenset[Dtype] = frozenset(Dtype)
    modules: tuple[str, ...] = ()
    install: str = ""
    missing: tuple[str, ...] = ()

    @property
    def is_configured(self) -> bool:
        """Whether leaders of this kind can be started here.

        A foreign kind needs a setting that says where its engine is, another one its modules.
        """
        return not self.absence

    @property
    def absence(self) -> str:
        """Say why no leader of this kind can be started here, and what to do.

        Empty: it can.
        """
        if not self.command:
            return f"no setting says where it is: start the daemon with --engine {self.name}=PREFIX"
        if self.missing:
            return f"{', '.join(self.missing)} not installed: run `{self.install}`, and start the daemon again"
        return ""

    def check_options(self, given: Mapping[str, str]) -> tuple[InvalidField, ...]:
        """Return what is wrong with a caller's options; empty if nothing is."""
        known = {option.name: option for option in self.options}
        takes = ", ".join(sorted(known)) or "none"
        found: list[InvalidField] = []
        for name, text in given.items():
            option = known.get(name)
            problem = f"engine {self.name} has no such option; its options: {takes}"
            if option is not None:
                problem = option.problem(text)
            if problem:
                found.append(InvalidField(f'engine_options["{name}"]', problem))
        return tuple(found)

    def check_weights_format(self, name: str) -> tuple[InvalidField, ...]:
        """Return what is wrong with a weights' format; empty if nothing is."""
        if name in self.weights_formats:
            return ()
        takes = ", ".join(sorted(filter(None, self.weights_formats))) or "none: leave it out"
        return (InvalidField("weights_format", f"engine {self.name} does not take {name[:64]!r}; it takes {takes}"),)

    def check_dtype(self, dtype: Dtype | None) -> tuple[InvalidField, ...]:
        """Return what is wrong with a dtype that weights shall be cast to.

        None: as they are stored, which is always right.
        """
        if dtype is None or dtype in self.dtypes:
            return ()
        takes = ", ".join(sorted(self.dtypes))
        return (
            InvalidField(
                "dtype", f"engine {self.name} does not load {dtype.value}; it loads {takes}: leave it out, or name one"
            ),
        )

    def read_options(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the text of every option, its default where the caller gives none.

        Raises:
            ValueError: an option is unknown or out of range.
        """
        violations = self.check_options(given)
        if violations:
            raise ValueError("; ".join(f"{one.field}: {one.description}" for one in violations))
        return {option.name: given.get(option.name, option.default) for option in self.options}
