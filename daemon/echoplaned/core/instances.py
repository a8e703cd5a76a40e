"""The instance machine: applies adapters' events by ``INSTANCE_TABLE``.

It knows nothing of traffic.
"""

from __future__ import annotations

from echoplaned.core.contexts import is_context_open
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.devices import end_wait
from echoplaned.core.effects import ExplainMemory, UndrainEngine
from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import (
    EngineDrained,
    EngineEvent,
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineReporting,
    EngineSilent,
    EngineStopped,
    EngineStuck,
    MemoryMeasured,
    ProbesFailed,
    ProbesPassed,
)
from echoplaned.core.events import InstancePlaced, PlacementRefused
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.names import version_name
from echoplaned.core.queries import find_instance, free_bytes
from echoplaned.core.replacing import replace
from echoplaned.core.spec import DEFAULT_DRAIN_TIMEOUT_S
from echoplaned.core.state import Instance, InstanceState, StopOutcome
from echoplaned.core.tables import INSTANCE_TABLE, InstanceAction, InstanceCell, InstanceSignal
from echoplaned.core.transaction import Transaction

MAX_FAILURES = 5
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 30.0
FORGIVEN_AFTER_S = 60.0

_SIGNALS: dict[type[EngineEvent], InstanceSignal] = {
    EngineReady: InstanceSignal.READY,
    ProbesPassed: InstanceSignal.PROBES_PASSED,
    ProbesFailed: InstanceSignal.PROBES_FAILED,
    EngineLost: InstanceSignal.LOST,
    EngineStuck: InstanceSignal.STUCK,
    EngineSilent: InstanceSignal.SILENT,
    EngineReporting: InstanceSignal.REPORTING,
    EngineGaveUp: InstanceSignal.GAVE_UP,
    EngineDrained: InstanceSignal.DRAINED,
    EngineStopped: InstanceSignal.STOPPED,
}


def back_off_s(failures: int) -> float:
    """Return how many seconds a restart waits after so many failures in a row.

    0.5, 1, 2, 4 and so on, at most 30.
    """
    return min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2.0 ** max(0, failures - 1))


def on_placed(transaction: Transaction, event: InstancePlaced) -> None:
    """Give an instance the place that the planner found.

    The planner must have read the newest reservations, and the room must still be there; else it will be asked again.
    """
    found = find_instance(transaction.state, event.instance)
    if found is None or found[2].state is not InstanceState.PENDING:
        return transaction.count_stale()
    if event.reservation_epoch != transaction.state.reservation_epoch:
        return transaction.count_stale()
    if any(share.bytes > free_bytes(transaction.state, share.device_id) for share in event.placement.shares):
        # A plan that overcommits would break an invariant; asked again, the planner reads reservations that differ.
        return transaction.bump_reservations()
    state = _next(found[2], InstanceSignal.RESERVED)
    transaction.put_instance(replace(found[2], state=state, placement=event.placement))
    _choose_context(transaction, event)
    end_wait(transaction, event.instance)
    transaction.bump_reservations()
    return None


def _choose_context(transaction: Transaction, event: InstancePlaced) -> None:
    """Keep the context length that came with a version's first reservation.

    Only where nobody asked for one: it was planned for all the version's replicas.
    """
    version = transaction.version(event.instance.version)
    if not is_context_open(version):
        return
    plan = event.plan or version.plan
    transaction.put_version(replace(version, plan=plan, context_length=plan.context_length))


def on_placement_refused(transaction: Transaction, event: PlacementRefused) -> None:
    """Give an instance up for want of room.

    Unless a reservation has changed since the planner read it.
    """
    found = find_instance(transaction.state, event.instance)
    if (
        found is None
        or found[2].state is not InstanceState.PENDING
        or event.reservation_epoch != transaction.state.reservation_epoch
    ):
        return transaction.count_stale()
    give_up_pending(transaction, event.instance, event.failure)
    return None


def give_up_pending(transaction: Transaction, key: InstanceKey, failure: FailureDetail) -> None:
    """Give up an instance that has no place yet, and its version with it."""
    found = find_instance(transaction.state, key)
    if found is not None:
        end_wait(transaction, key)
        transaction.drop_instance(key)
        _fail_version(transaction, found[2], failure)


def on_engine_event(transaction: Transaction, event: EngineEvent) -> None:
    """Apply an engine's event to its instance.

    One that names another generation, or has no cell in the table, changes nothing.
    """
    found = find_instance(transaction.state, event.instance)
    # An event of an earlier session may arrive when its successor has started already.
    if found is None or found[2].generation != event.generation:
        return transaction.count_stale()
    instance = found[2]
    if isinstance(event, MemoryMeasured):
        if event.usage is not None and event.usage.cpu_isa is not None:
            _note_isa(transaction, instance, event.usage.cpu_isa)
        if event.usage is not None and event.usage.tokens:
            transaction.extra_effects.append(ExplainMemory(event.instance, event.generation, event.usage))
        figures = event.figures or instance.figures
        return transaction.put_instance(replace(instance, measured_bytes=event.measured_bytes, figures=figures))
    event, signal = _signal_of(instance, event)
    cell = INSTANCE_TABLE[instance.state].get(signal)
    if cell is None:
        return transaction.count_stale()
    _apply(transaction, instance, cell, event)
    return None


def _note_isa(transaction: Transaction, instance: Instance, cpu_isa: CpuIsa) -> None:
    """Keep with its devices the instruction set that an instance's library reports.

    It knows better than the CPU's flags.
    """
    held = instance.placement.device_ids if instance.placement is not None else ()
    devices = tuple(
        replace(one, cpu_isa=cpu_isa) if one.device_id in held else one for one in transaction.state.devices
    )
    if devices != transaction.state.devices:
        transaction.state = replace(transaction.state, devices=devices)


def _signal_of(instance: Instance, event: EngineEvent) -> tuple[EngineEvent, InstanceSignal]:
    """Return the signal that an event gives an instance.

    One failure too many is the same as giving up.
    """
    signal = _SIGNALS[type(event)]
    if isinstance(event, EngineStopped) and instance.outcome is StopOutcome.RESTART:
        return event, InstanceSignal.RESTARTED
    cell = INSTANCE_TABLE[instance.state].get(signal)
    tries_again = cell is not None and (cell.action is InstanceAction.RESTART or cell.outcome is StopOutcome.RESTART)
    if tries_again and instance.failures + 1 >= MAX_FAILURES:
        return (_crash_loop(event) if isinstance(event, EngineLost) else event), InstanceSignal.GAVE_UP
    return event, signal


def _crash_loop(event: EngineLost) -> EngineGaveUp:
    message = f"the engine died {MAX_FAILURES} times in a row; the last time: {event.detail}. Load the version again to try anew"
    return EngineGaveUp(
        event.now_s,
        event.instance,
        event.generation,
        FailureDetail(Reason.ENGINE_CRASH_LOOP, message, retry_delay_s=60.0),
    )


def _apply(transaction: Transaction, instance: Instance, cell: InstanceCell, event: EngineEvent) -> None:
    match cell.action:
        case InstanceAction.REMOVE:
            _gone(transaction, instance)
        case InstanceAction.RESTART:
            _restart(transaction, instance, event)
        case InstanceAction.STOP if cell.outcome is not None:
            _stop(transaction, instance, cell.outcome, event)
        case InstanceAction.STOP_SOFTLY if cell.outcome is not None:
            # Held from before the stop: the routes without it go out in the same step.
            _stop(transaction, replace(instance, held_since_s=transaction.now_s), cell.outcome, event)
        case InstanceAction.RELEASE:
            _release(transaction, instance, event)
        case InstanceAction.AVOID | InstanceAction.TRUST:
            transaction.put_instance(replace(instance, silent=cell.action is InstanceAction.AVOID))
        case InstanceAction.ALARM:
            _alarm(transaction, instance)
        case InstanceAction.LISTEN if isinstance(event, EngineReady):
            transaction.put_instance(
                replace(instance, state=cell.state, endpoints=event.endpoints, leader_id=event.leader_id)
            )
            _keep_build(transaction, instance, event.engine_build)
        case InstanceAction.SERVE:
            became_ready(transaction, instance)
        case _:
            pass  # STAY; the others are done by those who cause them, beside the engines


def _keep_build(transaction: Transaction, instance: Instance, build: str) -> None:
    """Keep the build that serves a version first.

    Later sessions are asked for the same one.
    """
    version = transaction.version(instance.key.version)
    if build and not version.engine_build:
        transaction.put_version(replace(version, engine_build=build))


def became_ready(transaction: Transaction, instance: Instance) -> None:
    """Make an instance READY that passed its probes.

    The version's load time is that of its first READY instance.
    """
    if instance.state is InstanceState.READY:
        return
    ready = replace(instance, state=InstanceState.READY, ready_since_s=transaction.now_s, silent=False)
    transaction.put_instance(ready)
    version = transaction.version(instance.key.version)
    if version.load_duration_s is None:
        transaction.put_version(replace(version, load_duration_s=transaction.now_s - version.load_started_s))
    transaction.announce(
        _subject(instance), "instance.ready", f"{instance.key} is ready at {oip_target(instance.endpoints)}"
    )


def _gone(transaction: Transaction, instance: Instance) -> None:
    transaction.drop_instance(instance.key)
    transaction.announce(_subject(instance), "instance.gone", f"{instance.key} has gone")


def _restart(transaction: Transaction, instance: Instance, event: EngineEvent) -> None:
    failures = instance.failures + (1 if isinstance(event, EngineLost) else 0)
    transaction.put_instance(
        replace(
            instance,
            state=InstanceState.STARTING,
            generation=instance.generation + 1,
            outcome=None,
            endpoints=(),
            leader_id="",
            failures=failures,
            restart_at_s=transaction.now_s + back_off_s(failures),
            ready_since_s=None,
            drain_deadline_s=None,
            alarm=False,
            silent=False,
            held_since_s=None,
        )
    )
    detail = event.detail if isinstance(event, EngineLost) else "stopped"
    transaction.announce(_subject(instance), "instance.lost", f"{instance.key} is started again: {detail}")


def _alarm(transaction: Transaction, instance: Instance) -> None:
    if not instance.alarm:
        transaction.put_instance(replace(instance, alarm=True))
        transaction.announce(
            _subject(instance), "instance.alarm", f"{instance.key} does not die; its memory stays reserved"
        )


def _stop(transaction: Transaction, instance: Instance, outcome: StopOutcome, event: EngineEvent) -> None:
    failure = _failure_of(event)
    failures = instance.failures + (0 if isinstance(event, EngineDrained) else 1)
    transaction.put_instance(
        replace(
            instance,
            state=InstanceState.STOPPING,
            outcome=outcome,
            failure=failure,
            failures=failures,
            drain_deadline_s=None,
        )
    )
    if outcome is StopOutcome.FAILED and failure is not None:
        _fail_version(transaction, instance, failure)
    _announce_cut(transaction, instance, event, "at the drain deadline")


def _release(transaction: Transaction, instance: Instance, event: EngineEvent) -> None:
    if instance.held_since_s is None:
        return
    transaction.put_instance(replace(instance, held_since_s=None))
    _announce_cut(transaction, instance, event, "with the engine, which had no time left to answer them")


def _announce_cut(transaction: Transaction, instance: Instance, event: EngineEvent, when: str) -> None:
    if isinstance(event, EngineDrained) and event.cut_count:
        text = f"{instance.key}: {event.cut_count} calls were cut {when}"
        transaction.announce(_subject(instance), "instance.cut", text)


def _failure_of(event: EngineEvent) -> FailureDetail | None:
    match event:
        case EngineGaveUp():
            return event.failure
        case ProbesFailed():
            return FailureDetail(Reason.PROBE_FAILED, f"a probe failed: {event.detail}")
        case EngineStuck():
            return FailureDetail(
                Reason.ENGINE_START_FAILED, f"the engine made no progress: {event.detail}", retry_delay_s=60.0
            )
        case _:
            return None


def _fail_version(transaction: Transaction, instance: Instance, failure: FailureDetail) -> None:
    version = transaction.version(instance.key.version)
    transaction.put_version(replace(version, failure=failure))
    transaction.announce(_subject(instance), "version.failed", failure.message)


def drain(transaction: Transaction, instance: Instance, timeout_s: float = DEFAULT_DRAIN_TIMEOUT_S) -> None:
    """Let an instance that is not wanted any more finish what it serves.

    One that serves nothing yet is stopped. A client that has not found the daemon again since its start still routes by what it had: it is
    waited for.
    """
    cell = INSTANCE_TABLE[instance.state][InstanceSignal.DRAIN]
    if cell.action is InstanceAction.REMOVE:
        _gone(transaction, instance)
    elif cell.action is InstanceAction.STOP:
        transaction.put_instance(replace(instance, state=cell.state, outcome=cell.outcome))
    else:
        deadline_s = max(transaction.now_s + timeout_s, transaction.state.clients_reconnected_s)
        transaction.put_instance(replace(instance, state=cell.state, drain_deadline_s=deadline_s))


def undrain(transaction: Transaction, instance: Instance) -> None:
    """Make a draining instance READY again: its version is wanted."""
    ready = replace(instance, state=_next(instance, InstanceSignal.UNDRAIN), drain_deadline_s=None, silent=False)
    transaction.put_instance(ready)
    transaction.extra_effects.append(UndrainEngine(instance.key, instance.generation))


def forgive(transaction: Transaction, instance: Instance) -> None:
    """Forget the failures of an instance that has been READY for long enough."""
    since = instance.ready_since_s
    settled = (
        instance.state is InstanceState.READY and since is not None and transaction.now_s - since >= FORGIVEN_AFTER_S
    )
    if settled and instance.failures:
        transaction.put_instance(replace(instance, failures=0))


def _next(instance: Instance, signal: InstanceSignal) -> InstanceState:
    return INSTANCE_TABLE[instance.state][signal].state


def _subject(instance: Instance) -> str:
    key = instance.key.version
    return version_name(key.model, key.version)
