"""Finds devices for one instance.

Microseconds of Rust in the loop's turn, and a thread for all that reads files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from echoplaned.core.calibration import engine_key
from echoplaned.core.contexts import is_context_open, replaced_context, served_shape
from echoplaned.core.effects import ExplainMemory, PlaceInstance
from echoplaned.core.engine_events import MemorySampled
from echoplaned.core.errors import DaemonError
from echoplaned.core.events import InstancePlaced, PlacementDelayed, PlacementRefused
from echoplaned.core.fit import fit_error
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import RELEASE_SETTLES_S, foreign_text
from echoplaned.core.placement import LOCAL_NODE, Placement
from echoplaned.core.plan import Device, DeviceFit, Plan
from echoplaned.core.queries import available_bytes, find_instance
from echoplaned.core.spec import request_of
from echoplaned.core.state import Model, State, Version
from echoplaned.engine_kinds import find_kind
from echoplaned.planning.admission import foreign_memory, held_bytes
from echoplaned.planning.calibration import explain
from echoplaned.planning.inspection import survey_model
from echoplaned.planning.plan import ForeignMemory
from echoplaned.planning.seats import seat
from echoplaned.planning.sizing import size_model
from echoplaned.ports.emit import Clock, Emit
from echoplaned.ports.faults import ReportFault
from echoplaned.ports.planning import PlanQuestion
from echoplaned.runtime.faults import run_contained

HOST_KIND = "host"
log = structlog.get_logger(__name__)

PlanVersion = Callable[[PlanQuestion, State], Plan]
"""Plan a version as doors do; blocks."""


class InstancePlanner:
    """Implements ``ports.planning.Planner`` over the state's devices and reservations.

    A refusal says what would fit, and for that the checkpoint is read: in a thread. Its answer carries the reservation epoch of the
    state that was read, so that one which comes late is stale to the core, which has asked anew by then. Of one instance only the
    newest question is worked on.

    Where there is room by what is reserved, and others hold it as measured, the instance waits for a while: what an engine held may be
    free a moment after its end. ``wait_s``: for so long at most.
    """

    def __init__(
        self, emit: Emit, clock: Clock, plan: PlanVersion, failed: ReportFault, wait_s: float = RELEASE_SETTLES_S
    ) -> None:
        self._wait_s = wait_s
        # Of instances whose refusal is being worked on: the reservations that it reads.
        self._epochs: dict[InstanceKey, int] = {}
        self._emit = emit
        self._failed = failed
        self._clock = clock
        self._plan = plan
        self._jobs: dict[tuple[str, str], asyncio.Task[None]] = {}

    def place(self, effect: PlaceInstance, state: State) -> None:
        """Find a place for an instance; the answer is an event.

        InstancePlaced or PlacementDelayed at once, or PlacementRefused when it is known what would fit.
        """
        found = find_instance(state, effect.instance)
        if found is None:
            return
        model, version, _ = found
        now_s, epoch = self._clock(), state.reservation_epoch
        placement = _find_placement(version, version.plan, state)
        if placement is not None:
            self._emit(InstancePlaced(now_s, effect.instance, placement, epoch))
        elif self._may_wait(effect, now_s) and _find_placement(version, version.plan, replace(state, measured=())):
            self._emit(PlacementDelayed(now_s, effect.instance, _waiting_text(version, state), epoch))
        elif self._epochs.get(effect.instance) != epoch:
            self._epochs[effect.instance] = epoch
            job = run_contained(lambda: self._refuse(effect, model, version, state), partial(self._failed, effect.key))
            self._start(("place", str(effect.instance)), job)

    def _may_wait(self, effect: PlaceInstance, now_s: float) -> bool:
        """Whether an instance has time left until what was freed is measured as free."""
        since_s = now_s if effect.waiting_since_s is None else effect.waiting_since_s
        return now_s < since_s + self._wait_s

    def explain_memory(self, effect: ExplainMemory, state: State) -> None:
        """Answer MemorySampled; a memory sample of a device that has gone is dropped."""
        found = find_instance(state, effect.instance)
        placement = found[2].placement if found is not None else None
        held = [one for one in state.devices if placement is not None and one.device_id in placement.device_ids]
        # On a GPU the process's resident memory says nothing of the device's.
        if found is None or len(held) != 1 or held[0].kind != HOST_KIND:
            return
        version, device = found[1], held[0]
        job = run_contained(lambda: self._explain(effect, version, device), partial(_log_lost, effect))
        self._start(("explain", str(effect.instance)), job)

    @property
    def open_jobs(self) -> int:
        """How many questions are being worked on beside the loop."""
        return len(self._jobs)

    async def aclose(self) -> None:
        """Give up what is still being worked on; nothing is answered any more."""
        jobs = tuple(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    def _start(self, key: tuple[str, str], job: Coroutine[object, object, None]) -> None:
        """Work on a question beside the loop, in place of an older one of the same key."""
        older = self._jobs.get(key)
        if older is not None:
            older.cancel()
        task = asyncio.get_running_loop().create_task(job, name=" ".join(key))
        self._jobs[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._jobs.get(key) is task:
            del self._jobs[key]

    async def _refuse(self, effect: PlaceInstance, model: Model, version: Version, state: State) -> None:
        try:
            answer = await self._answer_full(effect, model, version, state)
        finally:
            if self._epochs.get(effect.instance) == state.reservation_epoch:
                del self._epochs[effect.instance]
        self._emit(answer)

    async def _answer_full(
        self, effect: PlaceInstance, model: Model, version: Version, state: State
    ) -> InstancePlaced | PlacementRefused:
        """Answer for an instance that has no room: a shorter context, or a refusal.

        A shorter context is looked for where it may still be chosen; else the answer says what would fit.
        """
        surge = model.rollout is not None and model.rollout.to_version == version.key.version
        replaced = replaced_context(model, version.key.version) if surge else 0
        is_open = is_context_open(version)
        shape = served_shape(version)
        spec = replace(version.spec, shape=shape if is_open else replace(shape, replicas=1))
        try:
            question = PlanQuestion(spec, version.facts, surge, least_context=replaced)
            plan = await asyncio.to_thread(self._plan, question, state)
        except DaemonError:
            # The checkpoint has gone meanwhile: the plan that was made of it is told, without what would fit instead.
            plan = replace(version.plan, fits=False, alternatives=(), surge=surge)
        placement = _find_placement(version, plan, state) if is_open and plan.fits else None
        if placement is not None:
            return InstancePlaced(self._clock(), effect.instance, placement, state.reservation_epoch, plan)
        failure = fit_error(
            _without_room(plan, plan.upper_bytes if is_open else version.plan.upper_bytes, state)
        ).failure
        return PlacementRefused(self._clock(), effect.instance, failure, state.reservation_epoch)

    async def _explain(self, effect: ExplainMemory, version: Version, device: Device) -> None:
        taken = await asyncio.to_thread(_read, effect, version, device, self._clock())
        if taken is not None:
            self._emit(taken)


def _log_lost(effect: ExplainMemory, error: BaseException) -> None:
    """Log that a memory sample was lost.

    Nothing waits for it; the process is measured again.
    """
    log.error("memory_sample.lost", instance=str(effect.instance), exc_info=error)


def _find_placement(version: Version, plan: Plan, state: State) -> Placement | None:
    """Return a place for one more instance of a version, by a plan and a state.

    None: there is no room.
    """
    held = Counter(d for i in version.instances if i.placement is not None for d in i.placement.device_ids)
    shares = seat(state.devices, held_bytes(state, {}), plan.rank_bytes, held)
    return None if shares is None else Placement(LOCAL_NODE, shares)


def _waiting_text(version: Version, state: State) -> str:
    """Say what an instance waits for, device by device."""
    needed, foreign = max(version.plan.rank_bytes), foreign_memory(state)
    texts = [
        f"{name} has {max(0, available_bytes(state, name))} of {needed} bytes measured as free,"
        f" as {foreign_text(one.bytes, one.holders)}"
        for name, one in foreign.items()
    ]
    return "memory is reserved by nobody, and not free yet: " + "; ".join(texts)


def _without_room(plan: Plan, needed_bytes: int, state: State) -> Plan:
    """Return the plan of one instance, with what found no room on each device.

    Its bound is the one that it was admitted with, whatever a newer calibration says.
    """
    foreign = foreign_memory(state)
    devices = tuple(
        DeviceFit(name, max(0, available_bytes(state, name)), needed_bytes, others.bytes, others.holders)
        for name in (device.device_id for device in state.devices)
        for others in (foreign.get(name, ForeignMemory(0)),)
    )
    return replace(plan, fits=False, replicas=1, upper_bytes=needed_bytes, device_ids=(), devices=devices)


def _read(effect: ExplainMemory, version: Version, device: Device, now_s: float) -> MemorySampled | None:
    """Return a memory sample sized by the very batch that was exercised.

    Reads the checkpoint's headers; None where the checkpoint has gone, or the engine's size follows from no formula.
    """
    spec, usage = version.spec, effect.usage
    kind = find_kind(spec.shape.engine)
    if kind is None or not kind.is_calibrated:
        return None
    exercised = replace(request_of(spec.shape), context_length=usage.tokens, max_concurrency=usage.sequences)
    try:
        checkpoint = survey_model(Path(spec.source_path))
        sized = size_model(checkpoint, exercised, cpu_isa=usage.cpu_isa or device.cpu_isa)
    except DaemonError:
        return None
    subject = f"{effect.instance}.{effect.generation}"
    sample = explain(subject, now_s, usage, sized, checkpoint.facts.weights_bytes)
    return MemorySampled(now_s, engine_key(spec.shape.engine, usage.engine_version, device, usage.cpu_isa), sample)
