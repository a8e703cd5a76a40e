"""Effects are done, and observers told, so that no fault reaches the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from echoplaned.core import effects as fx
from echoplaned.core.state import State
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.faults import AdapterFaults, contain

_ADAPTERS: Mapping[type[fx.Effect], str] = MappingProxyType(
    {
        fx.ExplainMemory: "planner",
        fx.UndrainEngine: "engines",
        fx.FinishOperation: "forgetting",
        fx.Announce: "observer",
    }
)
"""Which part does an effect that has no key."""


class Performer:
    """Does effects and tells the observer, and contains what they raise."""

    def __init__(self, dispatcher: Dispatcher, faults: AdapterFaults) -> None:
        self._dispatcher = dispatcher
        self._faults = faults

    def perform(self, effect: fx.Effect, state: State) -> None:
        """Have an effect done by its adapter.

        What the adapter raises becomes an event; of an effect without a key, a line in the log.
        """
        with contain(partial(self._failed, effect)):
            self._dispatcher.perform(effect, state)

    def on_changed(self, before: State, after: State) -> None:
        """Tell the observer of a new state."""
        self._observed("changed", lambda: self._dispatcher.observer.on_changed(before, after))

    def _observed(self, what: str, tell: Callable[[], None]) -> None:
        with contain(lambda error: self._faults.note("observer", (what,), error)):
            tell()

    def _failed(self, effect: fx.Effect, error: BaseException) -> None:
        if isinstance(effect, fx.KeyedEffect):
            self._faults.report(effect.key, error)
        else:
            # Lost without harm: what was measured is measured again, what was not forgotten goes with the process.
            self._faults.note(_ADAPTERS[type(effect)], (type(effect).__name__,), error)
