"""The first event after a start: what the store says against which engines were found alive."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.draft import Draft
from echoplaned.core.events import EngineLost, FoundEngine, Recovered
from echoplaned.core.ids import InstanceKey
from echoplaned.core.instances import on_engine_event
from echoplaned.core.rollouts import accepts, fire
from echoplaned.core.state import Instance, InstanceState, Model, RoutesProgress
from echoplaned.core.tables import RolloutSignal

# gRPC's core backs off to 120 s, more or less 20 %, before it dials a control plane again; the rest is for what follows.
CLIENTS_BACK_AFTER_S = 180.0
# STARTING is not here: its StartEngine is handed out again, and the engine side takes a process that runs already.
_HAS_PROCESS = frozenset({InstanceState.PROBING, InstanceState.READY, InstanceState.DRAINING})


def on_recovered(draft: Draft, event: Recovered) -> None:
    """Go on: lost engines are lost, a stage's window starts again, every implied effect is handed out again."""
    found = {(engine.instance, engine.generation): engine for engine in event.found}
    back_s = draft.now_s + CLIENTS_BACK_AFTER_S if draft.state.models else 0.0
    draft.state = replace(draft.state, issued={}, clients_back_s=back_s)
    for model in tuple(draft.state.models.values()):
        epoch = model.routes.epoch if model.routes is not None else 0
        draft.put_model(replace(model, progress=RoutesProgress(epoch, draft.now_s)))
        for version in model.versions.values():
            for instance in version.instances:
                _recover_instance(draft, instance, found)
        _recover_rollout(draft, draft.model(model.model_id))


def _recover_instance(draft: Draft, instance: Instance, found: dict[tuple[InstanceKey, int], FoundEngine]) -> None:
    if instance.state not in _HAS_PROCESS:
        return
    engine = found.get((instance.key, instance.generation))
    if engine is None:
        detail = "its process was not there when the daemon started"
        on_engine_event(draft, EngineLost(draft.now_s, instance.key, instance.generation, detail))
        return
    deadline_s = instance.drain_deadline_s
    if deadline_s is not None:
        deadline_s = max(deadline_s, draft.state.clients_back_s)
    endpoints = engine.endpoints or instance.endpoints
    found_again = replace(instance, endpoints=endpoints, leader_id=engine.leader_id, drain_deadline_s=deadline_s)
    draft.put_instance(found_again)


def _recover_rollout(draft: Draft, model: Model) -> None:
    if model.rollout is not None and accepts(model.rollout, RolloutSignal.RECOVERED):
        fire(draft, model.rollout, RolloutSignal.RECOVERED)
