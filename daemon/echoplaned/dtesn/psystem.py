"""P systems (membrane computing), and the health-event algebra that is one.

A step reads the old configuration, applies in every membrane a multiset of rule instances to which nothing can be added,
all at once, and then dissolves and divides; a rule is not used while one of higher priority is applicable (strong priority).
See Paun, Rozenberg, Salomaa (editors), "The Oxford Handbook of Membrane Computing", 2010.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from echoplaned import _allocator
from echoplaned.dtesn._numbers import whole_numbers


class System:
    """A P system, read from a text in a subset of P-Lingua.

    Made by `parse`.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, native: _allocator.MembraneSystem) -> None:
        self._native = native

    @classmethod
    def parse(cls, text: str) -> System:
        """Read a P system from text.

        The text has modules, ``let``, ``call``, ``@mu``, ``@mout``, ``@ms``, ranges, and rules.

        Rules are those of P systems with active membranes as P-Lingua writes them, with charges: ``[a --> b]'h``,
        ``a []'h --> [b]'h``, ``[a]'h --> []'h b``, ``[a]'h --> b`` and ``[a]'h --> [b]'h [c]'h``. Evolution rules may besides
        say ``(a, out)``, ``(a, in h)`` and ``@d`` (dissolve) on the right; ``(n)`` before a rule is its priority, 1 the
        highest. Of P-Lingua 5 besides: ``@include`` of its two models that are built in, calls without ``call``, and
        ``[a []'h --> b [c]'h]'k``. ``@mout = h`` names the output membrane; pLinguaCore has it for spiking systems alone, and
        P-Lingua 5 not at all, so it is an extension here.

        Raises:
            SystemSyntaxError, MembraneUndefinedError, NestingTooDeepError: with ``line`` and ``column``.
            SystemTooLargeError: the text, or what it expands to, is over its limit.
        """
        return cls(_allocator.MembraneSystem.parse(text))

    def __str__(self) -> str:
        """Return the system as text, with parameters and ranges put in.

        Reading the text gives the same system.
        """
        return self._native.text

    @property
    def objects(self) -> tuple[str, ...]:
        """The alphabet."""
        return tuple(self._native.symbols)

    @property
    def output(self) -> str | None:
        """Label of the output membrane; None for the environment.

        The objects of that membrane are the result of a computation.
        """
        return self._native.output

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules as text."""
        return tuple(self._native.rules)


@dataclass(frozen=True, slots=True)
class Applied:
    """Instances of one rule that one step applied in one membrane.

    Attributes:
        membrane: id of the membrane.
        rule: index of the rule in `System.rules`, from 0.
        times: how many instances were applied, from 1.
    """

    membrane: int
    rule: int
    times: int


@dataclass(frozen=True, slots=True)
class MembraneState:
    """One membrane of a configuration, with its objects.

    Attributes:
        id: id of the membrane, as `Applied` and `Configuration.insert` name it.
        label: label of the membrane, to which rules refer.
        charge: electrical charge: -1, 0 or 1.
        parent: index in `Configuration.membranes` of the membrane around it; None for the skin.
        objects: copies of each object in it.
    """

    id: int
    label: str
    charge: int
    parent: int | None
    objects: Mapping[str, int]


class Configuration:
    """Membranes and objects of a running system.

    Args:
        system: the system; the configuration is its start.
        seed: None takes rules in their order, each as often as possible; a number draws among the maximal multisets.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, system: System, seed: int | None = None) -> None:
        self._native = _allocator.MembraneConfiguration(system._native, seed)  # noqa: SLF001 - one module

    def step(self) -> tuple[Applied, ...]:
        """Make one step; nothing is applied where the system has halted.

        Raises:
            ValueOverflowError: there are more than 2**64 - 1 copies of an object; the configuration is as it was.
            SystemTooLargeError: division made too many membranes; likewise.
        """
        return tuple(Applied(*one) for one in self._native.step())

    @whole_numbers
    def run(self, max_steps: int) -> int:
        """Step until nothing can be applied; returns how many steps there were.

        Args:
            max_steps: how many are allowed; no more than a million are made.

        Raises:
            NotHaltedError: the system went on after these.
            ValueOverflowError, SystemTooLargeError: as `step`.
        """
        return self._native.run(max_steps)

    @whole_numbers
    def insert(self, membrane: int, name: str, times: int = 1) -> None:
        """Put objects into a membrane, by its id.

        Raises:
            ObjectUnknownError: there is no such membrane or object.
            ValueOverflowError: as `step`.
        """
        self._native.insert(membrane, name, times)

    @property
    def membranes(self) -> tuple[MembraneState, ...]:
        """All membranes, each before those in it; the first is the skin."""
        return tuple(MembraneState(*one) for one in self._native.membranes)

    @property
    def halted(self) -> bool:
        """Whether no rule can be applied."""
        return self._native.halted

    def result(self) -> Mapping[str, int] | None:
        """Return what the computation gives, as copies of each object.

        These are the objects of the output membrane, or of the environment where none is named.

        Where division made several output membranes they count together; None where all have dissolved, for then the
        computation has no result.

        Raises:
            NotHaltedError: a rule can still be applied.
            ValueOverflowError: they hold more than 2**64 - 1 copies of an object together.
        """
        return self._native.result()

    @property
    def environment(self) -> Mapping[str, int]:
        """Objects that left the skin."""
        return self._native.environment


class Event(enum.Enum):
    """What happened to the old or the new version in a matched pair of requests."""

    OLD_ERROR = "old_error"
    NEW_ERROR = "new_error"
    OLD_SLOW = "old_slow"
    NEW_SLOW = "new_slow"
    OLD_DRIFT = "old_drift"
    NEW_DRIFT = "new_drift"


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms of an epoch, and what led to them.

    Attributes:
        error: alarms of errors, from 0.
        slow: alarms of slow answers, from 0.
        drift: alarms of drift, from 0.
        trace: every rule that was applied, step by step: membrane id, rule as text, times.
    """

    error: int
    slow: int
    drift: int
    trace: tuple[tuple[tuple[int, str, int], ...], ...]


class HealthAlgebra:
    """A P system that turns the health events of a model into alarms.

    Its membranes are the health tree: model > version > instance > gate, at first one version with one instance.

    Events enter at a gate and climb to the skin; at the end of an epoch events of old and new cancel, then each ``threshold``
    of surplus events of the new version gives an alarm, then the rest is discarded. So an epoch gives
    floor(max(0, new - old) / threshold) alarms, whatever the order of arrival.

    Args:
        error: threshold of errors, 1 to 1,000,000.
        slow: of slow answers.
        drift: of drift.
        gates: gates of an instance, 1 to 64.

    Raises:
        SettingInvalidError: a value is out of range.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, *, error: int, slow: int, drift: int, gates: int = 1) -> None:
        self._native = _allocator.HealthSystem(error, slow, drift, gates)

    @staticmethod
    @whole_numbers
    def threshold(z: float, events: int) -> int:
        """Return the threshold that keeps false alarms as rare as ``z``.

        It holds for at most ``events`` events an epoch, and the chance of an alarm is that of ``z`` or less.

        At least z standard deviations of the surplus by chance, and so large that the exact binomial probability holds too.
        """
        return _allocator.HealthSystem.threshold(z, events)

    @property
    def versions(self) -> tuple[int, ...]:
        """Ids of the versions' membranes."""
        return tuple(self._native.membranes("version"))

    @property
    def gates(self) -> tuple[int, ...]:
        """Ids of the gates' membranes, version by version."""
        return tuple(self._native.membranes("gate"))

    @property
    def system(self) -> System:
        """The P system."""
        return System.parse(self._native.text)

    @whole_numbers
    def record(self, gate: int, event: Event, times: int = 1) -> None:
        """Let events enter at a gate.

        Raises:
            ObjectUnknownError: there is no such gate.
            ValueOverflowError: there are more than 2**64 - 1 events.
        """
        self._native.record(gate, event.value, times)

    def advance(self) -> None:
        """Let events climb by one membrane; `close` does it too.

        Raises:
            ValueOverflowError: as `record`.
        """
        self._native.advance()

    def close(self) -> Alarms:
        """End the epoch and begin the next one.

        Raises:
            ValueOverflowError: as `record`.
        """
        alarms, trace = self._native.close()
        return Alarms(*alarms, trace=tuple(tuple(step) for step in trace))

    @whole_numbers
    def start_canary(self, version: int) -> int:
        """Divide a version's membrane; returns the new one's id.

        Raises:
            EpochOpenError: events wait for the end of the epoch.
            ObjectUnknownError: there is no such version.
        """
        return self._native.start_canary(version)

    @whole_numbers
    def end_canary(self, version: int) -> None:
        """Dissolve a version's membrane, and those in it.

        Raises:
            EpochOpenError, ObjectUnknownError: as `start_canary`.
        """
        self._native.end_canary(version)
