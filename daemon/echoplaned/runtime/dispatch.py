"""Hands each effect to the adapter that does it."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core import effects as fx
from echoplaned.core.state import OperationKind, State
from echoplaned.ports.engines import Engines
from echoplaned.ports.gates import Gates
from echoplaned.ports.observer import Observer
from echoplaned.ports.planning import Planner
from echoplaned.ports.routes import Routes


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The adapters, by what they do.

    ``perform`` returns at once; results come back as events.

    Attributes:
        planner: finds devices for instances, and explains their memory.
        engines: starts, probes, drains and stops engines.
        routes: publishes routes over xDS.
        gates: judges rollouts.
        observer: writes metrics and log.
    """

    planner: Planner
    engines: Engines
    routes: Routes
    gates: Gates
    observer: Observer

    def perform(self, effect: fx.Effect, state: State) -> None:  # noqa: C901 - one case an effect
        """Do one effect."""
        match effect:
            case fx.PlaceInstance():
                self.planner.place(effect, state)
            case fx.ExplainMemory():
                self.planner.explain_memory(effect, state)
            case fx.StartEngine():
                self.engines.start(effect)
            case fx.ProbeEngine():
                self.engines.probe(effect)
            case fx.DrainEngine():
                self.engines.drain(effect)
            case fx.UndrainEngine():
                self.engines.undrain(effect.instance, effect.generation)
            case fx.StopEngine():
                self.engines.stop(effect)
            case fx.PublishRoutes():
                self.routes.publish(effect)
            case fx.EvaluateGates():
                self.gates.evaluate(effect, state)
            case fx.FinishOperation():
                self._finished(effect, state)
            case fx.Announce():
                self.observer.on_announced(effect)
            case fx.Persist() | fx.Reply():
                pass  # the loop's own

    def _finished(self, effect: fx.FinishOperation, state: State) -> None:
        operation = effect.operation
        model = state.models.get(operation.model)
        if operation.kind is OperationKind.DELETE_MODEL and model is None:
            self.routes.remove(operation.model)
        if operation.kind is OperationKind.UPDATE and operation.rollout_id:
            # An update ends with its rollout, also where the model ended with both.
            self.gates.end(operation.rollout_id)
        self.observer.on_finished(effect, state)
