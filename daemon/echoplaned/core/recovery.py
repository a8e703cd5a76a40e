"""The first event after a start: the stored state meets the engines found alive."""

from __future__ import annotations

from echoplaned.core.clock_shift import shift_times
from echoplaned.core.engine_events import EngineLost
from echoplaned.core.events import FoundEngine, Recovered
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.instances import on_engine_event
from echoplaned.core.replacing import replace
from echoplaned.core.rollouts import accepts, fire
from echoplaned.core.state import Instance, InstanceState, Model, RoutesProgress, Version
from echoplaned.core.tables import RolloutSignal
from echoplaned.core.transaction import Transaction

# gRPC's core backs off to 120 s, more or less 20 %, before it dials a control plane again; the rest is for what follows.
CLIENTS_BACK_AFTER_S = 180.0
# STARTING is not here: its StartEngine is handed out again, and the engine side takes a process that runs already.
_HAS_PROCESS = frozenset({InstanceState.PROBING, InstanceState.READY, InstanceState.DRAINING})


def on_recovered(transaction: Transaction, event: Recovered) -> None:
    """Go on where the daemon stopped.

    Engines that are not there are lost, a stage's window starts again, every implied effect is handed out again. The time that the daemon
    was away counts for what drains and for a rollout on its way back.
    """
    found = {(engine.instance, engine.generation): engine for engine in event.found}
    back_s = transaction.now_s + CLIENTS_BACK_AFTER_S if transaction.state.models else 0.0
    state = shift_times(transaction.state, event.clock_shift_s)
    transaction.state = replace(state, issued={}, clients_reconnected_s=back_s)
    for model in tuple(transaction.state.models.values()):
        epoch = model.routes.epoch if model.routes is not None else 0
        transaction.put_model(replace(model, progress=RoutesProgress(epoch, transaction.now_s), faults=()))
        for version in model.versions.values():
            if model.rollout is None:
                _try_again(transaction, version)
            for instance in version.instances:
                _recover_instance(transaction, instance, found)
        _recover_rollout(transaction, transaction.model(model.model_id))


def _try_again(transaction: Transaction, version: Version) -> None:
    """Try a version once more that an adapter's fault brought down.

    The fault may have gone with the daemon that had it. One whose last process is still ending waits for the next load or start, so that it
    never has more processes than replicas. While a rollout is under way, which versions shall run is for the rollout to say.
    """
    ending = any(instance.state is InstanceState.STOPPING for instance in version.instances)
    if version.failure is not None and version.failure.reason is Reason.ADAPTER_FAILED and not ending:
        transaction.put_version(replace(version, failure=None))


def _recover_instance(
    transaction: Transaction, instance: Instance, found: dict[tuple[InstanceKey, int], FoundEngine]
) -> None:
    if instance.state not in _HAS_PROCESS:
        return
    engine = found.get((instance.key, instance.generation))
    if engine is None:
        detail = "its process was not there when the daemon started"
        on_engine_event(transaction, EngineLost(transaction.now_s, instance.key, instance.generation, detail))
        return
    deadline_s = instance.drain_deadline_s
    if deadline_s is not None:
        deadline_s = max(deadline_s, transaction.state.clients_reconnected_s)
    endpoints = engine.endpoints or instance.endpoints
    found_again = replace(
        instance, endpoints=endpoints, leader_id=engine.leader_id, drain_deadline_s=deadline_s, silent=False
    )
    transaction.put_instance(found_again)


def _recover_rollout(transaction: Transaction, model: Model) -> None:
    if model.rollout is not None and accepts(model.rollout, RolloutSignal.RECOVERED):
        fire(transaction, model.rollout, RolloutSignal.RECOVERED)
