"""The instance machine: adapters' events against ``INSTANCE_TABLE``. Knows nothing of traffic."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.draft import Draft
from echoplaned.core.effects import ExplainReading, UndrainEngine
from echoplaned.core.events import (
    EngineDrained,
    EngineEvent,
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineStopped,
    EngineStuck,
    MemoryMeasured,
    ProbesFailed,
    ProbesPassed,
    Refused,
    Reserved,
)
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fold import find_instance, free_bytes
from echoplaned.core.state import Goal, Instance, InstanceState
from echoplaned.core.tables import INSTANCE_TABLE, InstanceSignal

MAX_FAILURES = 5
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 30.0
FORGIVEN_AFTER_S = 60.0
DEFAULT_DRAIN_TIMEOUT_S = 300.0

_SIGNALS: dict[type[EngineEvent], InstanceSignal] = {
    EngineReady: InstanceSignal.READY,
    ProbesPassed: InstanceSignal.PROBES_PASSED,
    ProbesFailed: InstanceSignal.PROBES_FAILED,
    EngineLost: InstanceSignal.LOST,
    EngineStuck: InstanceSignal.STUCK,
    EngineGaveUp: InstanceSignal.GAVE_UP,
    EngineDrained: InstanceSignal.DRAINED,
    EngineStopped: InstanceSignal.STOPPED,
}


def back_off_s(failures: int) -> float:
    """Return how long a restart waits after so many failures in a row: 0.5, 1, 2, 4 s, at most 30."""
    return min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2.0 ** max(0, failures - 1))


def on_reserved(draft: Draft, event: Reserved) -> None:
    """Take the planner's answer, if it read the newest ledger and the room is still there; else it will be asked again."""
    found = find_instance(draft.state, event.instance)
    if found is None or found[2].state is not InstanceState.PENDING:
        return draft.count_stale()
    if event.ledger_epoch != draft.state.ledger_epoch:
        return draft.count_stale()
    if event.reserve_bytes > free_bytes(draft.state, event.device_id):
        # A plan that overcommits would break an invariant; asked again, the planner reads a ledger that differs.
        return draft.bump_ledger()
    instance = replace(
        found[2],
        state=_next(found[2], InstanceSignal.RESERVED),
        device_id=event.device_id,
        reserved_bytes=event.reserve_bytes,
    )
    draft.put_instance(instance)
    draft.bump_ledger()
    return None


def on_refused(draft: Draft, event: Refused) -> None:
    """Give an instance up for want of room, unless the ledger has changed since the planner read it."""
    found = find_instance(draft.state, event.instance)
    if found is None or found[2].state is not InstanceState.PENDING or event.ledger_epoch != draft.state.ledger_epoch:
        return draft.count_stale()
    draft.drop_instance(event.instance)
    _fail_version(draft, found[2], event.failure)
    return None


def on_engine_event(draft: Draft, event: EngineEvent) -> None:
    """Apply an engine's event; one that names another generation, or has no cell, changes nothing."""
    found = find_instance(draft.state, event.instance)
    if found is None or found[2].generation != event.generation:
        return draft.count_stale()
    instance = found[2]
    if isinstance(event, MemoryMeasured):
        if event.usage is not None and event.usage.cpu_isa is not None:
            _note_isa(draft, instance.device_id, event.usage.cpu_isa)
        if event.usage is not None and event.usage.tokens:
            draft.extra_effects.append(ExplainReading(event.instance, event.generation, event.usage))
        return draft.put_instance(replace(instance, measured_bytes=event.measured_bytes))
    signal = _SIGNALS[type(event)]
    if isinstance(event, EngineLost) and instance.failures + 1 >= MAX_FAILURES and _restarts(instance):
        event = _crash_loop(event)
        signal = InstanceSignal.GAVE_UP
    if isinstance(event, EngineStopped) and instance.goal is Goal.RESTART:
        signal = InstanceSignal.RESTARTED
    if signal not in INSTANCE_TABLE[instance.state]:
        return draft.count_stale()
    _apply(draft, instance, signal, event)
    return None


def _note_isa(draft: Draft, device_id: str, cpu_isa: CpuIsa) -> None:
    """Keep with a device what its worker's library says that it uses; it knows better than the CPU's flags."""
    devices = draft.state.devices
    if any(one.device_id == device_id and one.cpu_isa is not cpu_isa for one in devices):
        draft.state = replace(
            draft.state,
            devices=tuple(replace(one, cpu_isa=cpu_isa) if one.device_id == device_id else one for one in devices),
        )


def _restarts(instance: Instance) -> bool:
    return INSTANCE_TABLE[instance.state].get(InstanceSignal.LOST) is InstanceState.STARTING


def _crash_loop(event: EngineLost) -> EngineGaveUp:
    message = f"the engine died {MAX_FAILURES} times in a row; the last time: {event.detail}. Load the version again to try anew"
    return EngineGaveUp(
        event.now_s, event.instance, event.generation, Failure(Reason.ENGINE_CRASH_LOOP, message, retry_delay_s=60.0)
    )


def _apply(draft: Draft, instance: Instance, signal: InstanceSignal, event: EngineEvent) -> None:
    target = _next(instance, signal)
    if target is InstanceState.GONE:
        return _gone(draft, instance)
    if target is InstanceState.STARTING:
        return _restart(draft, instance, event)
    if target is InstanceState.STOPPING:
        return _stopping(draft, instance, signal, event)
    if isinstance(event, EngineReady):
        draft.put_instance(replace(instance, state=target, address=event.address, pid=event.pid))
    elif target is InstanceState.READY:
        became_ready(draft, instance)
    return None


def became_ready(draft: Draft, instance: Instance) -> None:
    """An instance passed its probes; the version's load time is that of its first READY instance."""
    if instance.state is InstanceState.READY:
        return
    draft.put_instance(replace(instance, state=InstanceState.READY, ready_since_s=draft.now_s))
    version = draft.version(instance.key.version)
    if version.load_duration_s is None:
        draft.put_version(replace(version, load_duration_s=draft.now_s - version.load_started_s))
    draft.announce(_subject(instance), "instance.ready", f"{instance.key} is ready at {instance.address}")


def _gone(draft: Draft, instance: Instance) -> None:
    draft.drop_instance(instance.key)
    draft.announce(_subject(instance), "instance.gone", f"{instance.key} has gone")


def _restart(draft: Draft, instance: Instance, event: EngineEvent) -> None:
    failures = instance.failures + (1 if isinstance(event, EngineLost) else 0)
    draft.put_instance(
        replace(
            instance,
            state=InstanceState.STARTING,
            generation=instance.generation + 1,
            goal=None,
            address="",
            pid=0,
            failures=failures,
            restart_at_s=draft.now_s + back_off_s(failures),
            ready_since_s=None,
            drain_deadline_s=None,
            alarm=False,
        )
    )
    detail = event.detail if isinstance(event, EngineLost) else "stopped"
    draft.announce(_subject(instance), "instance.lost", f"{instance.key} is started again: {detail}")


def _stopping(draft: Draft, instance: Instance, signal: InstanceSignal, event: EngineEvent) -> None:
    if instance.state is InstanceState.STOPPING:
        if signal is InstanceSignal.GAVE_UP and not instance.alarm:
            draft.put_instance(replace(instance, alarm=True))
            draft.announce(
                _subject(instance), "instance.alarm", f"{instance.key} does not die; its memory stays reserved"
            )
        return
    failure = _failure_of(event)
    goal = Goal.GONE if instance.state is InstanceState.DRAINING else _goal_of(instance, signal)
    failures = instance.failures + (1 if signal is not InstanceSignal.DRAINED else 0)
    draft.put_instance(
        replace(
            instance, state=InstanceState.STOPPING, goal=goal, failure=failure, failures=failures, drain_deadline_s=None
        )
    )
    if goal is Goal.FAILED and failure is not None:
        _fail_version(draft, instance, failure)
    if isinstance(event, EngineDrained) and event.cut_count:
        text = f"{instance.key}: {event.cut_count} calls were cut at the drain deadline"
        draft.announce(_subject(instance), "instance.cut", text)


def _goal_of(instance: Instance, signal: InstanceSignal) -> Goal:
    """Probes that fail before the first READY, and an engine that gave up, are final; else it is worth another process."""
    final = signal is InstanceSignal.GAVE_UP or instance.failures + 1 >= MAX_FAILURES
    if signal is InstanceSignal.PROBES_FAILED and instance.ready_since_s is None:
        final = True
    return Goal.FAILED if final else Goal.RESTART


def _failure_of(event: EngineEvent) -> Failure | None:
    match event:
        case EngineGaveUp():
            return event.failure
        case ProbesFailed():
            return Failure(Reason.PROBE_FAILED, f"a probe failed: {event.detail}")
        case EngineStuck():
            return Failure(
                Reason.ENGINE_START_FAILED, f"the engine made no progress: {event.detail}", retry_delay_s=60.0
            )
        case _:
            return None


def _fail_version(draft: Draft, instance: Instance, failure: Failure) -> None:
    version = draft.version(instance.key.version)
    draft.put_version(replace(version, failure=failure))
    draft.announce(_subject(instance), "version.failed", failure.message)


def drain(draft: Draft, instance: Instance, timeout_s: float = DEFAULT_DRAIN_TIMEOUT_S) -> None:
    """An instance is not wanted any more: let it finish what it serves, or stop it if it serves nothing yet.

    A client that has not found the daemon again since its start still routes by what it had: it is waited for.
    """
    target = _next(instance, InstanceSignal.DRAIN)
    if target is InstanceState.GONE:
        _gone(draft, instance)
    elif target is InstanceState.STOPPING:
        draft.put_instance(replace(instance, state=target, goal=Goal.GONE))
    else:
        deadline_s = max(draft.now_s + timeout_s, draft.state.clients_back_s)
        draft.put_instance(replace(instance, state=target, drain_deadline_s=deadline_s))


def undrain(draft: Draft, instance: Instance) -> None:
    """A draining instance is wanted again."""
    draft.put_instance(replace(instance, state=_next(instance, InstanceSignal.UNDRAIN), drain_deadline_s=None))
    draft.extra_effects.append(UndrainEngine(instance.key, instance.generation))


def forgive(draft: Draft, instance: Instance) -> None:
    """Forget the failures of an instance that has been READY for long enough."""
    since = instance.ready_since_s
    settled = instance.state is InstanceState.READY and since is not None and draft.now_s - since >= FORGIVEN_AFTER_S
    if settled and instance.failures:
        draft.put_instance(replace(instance, failures=0))


def _next(instance: Instance, signal: InstanceSignal) -> InstanceState:
    return INSTANCE_TABLE[instance.state][signal]


def _subject(instance: Instance) -> str:
    key = instance.key.version
    return f"models/{key.model}/versions/{key.version}"
