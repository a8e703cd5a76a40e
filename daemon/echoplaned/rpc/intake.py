"""The way of a load or an update from its request to the core's event: known request? source, facts, refusals, plan, event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from echoplane.v1 import models_pb2, planning_pb2
from echoplaned.core.effects import Reply
from echoplaned.core.errors import (
    FieldInvalidError,
    LimitExceededError,
    MemoryInsufficientError,
    ModelNotFoundError,
    NotImplementedHereError,
    SurgeInfeasibleError,
    VersionNotFoundError,
)
from echoplaned.core.events import LoadRequested, Request, UpdateRequested, VersionOrder
from echoplaned.core.facts import ModelFacts
from echoplaned.core.failure import Violation
from echoplaned.core.fold import reserved_bytes
from echoplaned.core.plan import Plan
from echoplaned.core.spec import BehaviourChange, RolloutPolicy, VersionSpec
from echoplaned.core.state import Operation, Version
from echoplaned.core.step import Step, step
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.rpc.convert.common import BEHAVIOUR_FROM_PB, version_name
from echoplaned.rpc.convert.rollouts import policy_from_pb
from echoplaned.rpc.deps import RpcDeps
from echoplaned.rpc.facade import DeviceLoad, PlanQuestion
from echoplaned.rpc.loads import LoadTally
from echoplaned.rpc.repeats import RequestMemory, digest_of, find_operation
from echoplaned.rpc.victims import victims_of
from echoplaned.rpc.wishes import (
    VersionWish,
    changed_spec,
    default_version_id,
    new_spec,
    read_wish,
    same_content,
)

VersionEvent = LoadRequested | UpdateRequested


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a request: the operation that answers it; with ``planned`` a rehearsal of it, which changed nothing."""

    operation: Operation
    planned: Plan | None = None


class Intake:
    """Takes loads and updates in."""

    def __init__(self, deps: RpcDeps, memory: RequestMemory, tally: LoadTally) -> None:
        self._deps = deps
        self._handle = deps.handle
        self._memory = memory
        self._tally = tally
        self._inspections = asyncio.Semaphore(deps.limits.inspections)

    async def load(self, request: models_pb2.LoadModelRequest) -> Accepted:
        """Take a load in.

        Raises:
            EchoplaneError: it is refused; nothing changed.
        """
        came_before = self.known(request)
        if came_before is not None:
            return Accepted(came_before)
        wish = read_wish(request)
        order = await self._order(wish)
        labels = tuple(sorted(request.labels.items())) if request.labels else None
        event = LoadRequested(self.stamp(request), order, labels)
        return await self._submit(event, validate_only=request.validate_only)

    async def update(self, request: models_pb2.UpdateModelRequest) -> Accepted:
        """Take an update in.

        Raises:
            EchoplaneError: it is refused; nothing changed.
        """
        came_before = self.known(request)
        if came_before is not None:
            return Accepted(came_before)
        wish = read_wish(request)
        if wish.model not in self._handle.state.models:
            name = f"models/{wish.model}"
            raise ModelNotFoundError(name, f"{name} does not exist: load a first version")
        order = await self._order(wish)
        event = UpdateRequested(
            self.stamp(request),
            order,
            rollout_id=self._handle.new_id(),
            policy=policy_from_pb(request.policy) if request.HasField("policy") else RolloutPolicy(),
            behaviour_change=BEHAVIOUR_FROM_PB.get(request.behaviour_change, BehaviourChange.UNSPECIFIED),
            etag=request.etag,
            labels=tuple(sorted(request.labels.items())) if request.labels else None,
        )
        return await self._submit(event, validate_only=request.validate_only)

    async def plan(self, request: planning_pb2.PlanModelRequest, taken: Mapping[str, int] | None = None) -> Plan:
        """Plan a version and change nothing. ``taken``: bytes beside what is reserved, by device id.

        Raises:
            EchoplaneError: the source cannot be planned, or the model is not there.
        """
        wish = read_wish(request)
        if wish.model and wish.model not in self._handle.state.models:
            raise ModelNotFoundError(f"models/{wish.model}")
        self._check_engine(wish)
        spec, facts = await self._look(wish)
        return await self._planned(spec, facts, surge=bool(wish.model), taken=taken)

    def known(self, request: models_pb2.LoadModelRequest | models_pb2.UpdateModelRequest) -> Operation | None:
        """Return the operation of the same request that came before.

        Raises:
            RequestIdReusedError: its id came with another body.
        """
        digest = digest_of(request)
        self._memory.refuse_reuse(request.request_id, digest)
        return find_operation(self._handle.state, request.request_id, digest)

    def stamp(self, request: models_pb2.LoadModelRequest | models_pb2.UpdateModelRequest) -> Request:
        """Return what the core's event says of the request itself."""
        return Request(self._handle.now_s(), self._handle.new_id(), request.request_id, digest_of(request))

    async def _order(self, wish: VersionWish) -> VersionOrder:
        """Return what is wanted, with a plan that says nothing yet."""
        known = self._version(wish.model, wish.version)
        if not wish.source_uri and known is None:
            raise VersionNotFoundError(
                version_name(wish.model, wish.version),
                f"{version_name(wish.model, wish.version)} does not exist: give its source_uri",
            )
        completed = _from_known(wish, known)
        self._check_engine(completed)
        if known is not None and not wish.source_uri and known.instances:
            spec, facts = changed_spec(wish, known), known.facts
        else:
            spec, facts = await self._look(completed)
        version_id = wish.version or default_version_id(spec)
        known = self._version(wish.model, version_id)
        if known is not None and same_content(known.spec, spec):
            spec = known.spec
        plan = _unplanned(spec, facts)
        return VersionOrder(wish.model, version_id, spec, facts, plan, wish.tier, wish.pinned)

    async def _look(self, wish: VersionWish) -> tuple[VersionSpec, ModelFacts]:
        async with self._inspections:
            path = await asyncio.to_thread(self._deps.resolve_source, wish.source_uri)
            facts = await asyncio.to_thread(self._deps.planning.inspect, path)
        return new_spec(wish, str(path), facts, self._deps.limits.default_max_concurrency), facts

    async def _submit(self, event: VersionEvent, *, validate_only: bool) -> Accepted:
        """Rehearse the event, plan what it would start, then send it; the core checks it once more when it takes it."""
        state = self._handle.state
        rehearsal = step(state, event)
        operation = _answer(rehearsal)
        known = self._version(event.order.model, event.order.version)
        if operation.operation_id == event.request.operation_id:
            self._check_limits(event.order)
            plan = await self._plan_for(event, known)
            event = replace(event, order=replace(event.order, plan=plan))
            operation = replace(operation, plan=plan)
        if validate_only:
            return Accepted(operation, operation.plan or event.order.plan)
        self._tally.observe(self._handle.state)
        answer = await self._handle.submit(event)
        return Accepted(answered(answer))

    async def _plan_for(self, event: VersionEvent, known: Version | None) -> Plan:
        surge = isinstance(event, UpdateRequested)
        if known is not None and known.instances:
            plan = known.plan  # its bytes are reserved already
        else:
            plan = await self._planned(event.order.spec, event.order.facts, surge=surge)
        if not plan.fits:
            self._tally.refused()
            raise SurgeInfeasibleError(_why_not(plan), plan) if surge else MemoryInsufficientError(_why_not(plan), plan)
        return self._with_warnings(event, plan)

    async def _planned(
        self, spec: VersionSpec, facts: ModelFacts, *, surge: bool, taken: Mapping[str, int] | None = None
    ) -> Plan:
        state = self._handle.state
        more = taken or {}
        question = PlanQuestion(
            source_path=Path(spec.source_path),
            facts=facts,
            engine=spec.engine,
            dtype=spec.dtype,
            context_length=spec.context_length,
            max_concurrency=spec.max_concurrency,
            replicas=spec.replicas,
            devices=tuple(
                DeviceLoad(d, reserved_bytes(state, d.device_id) + more.get(d.device_id, 0)) for d in state.devices
            ),
            reservoir=spec.reservoir,
            surge=surge,
            victims=victims_of(state),
            measured=state.calibrations,
        )
        return await asyncio.to_thread(self._deps.planning.plan, question)

    def _with_warnings(self, event: VersionEvent, plan: Plan) -> Plan:
        model = self._handle.state.models.get(event.order.model)
        serving = model.versions.get(model.serving_version) if model is not None else None
        context = event.order.spec.context_length
        if not isinstance(event, UpdateRequested) or serving is None or context >= serving.spec.context_length:
            return plan
        text = (
            f"the new version answers at most {context} tokens, the serving one {serving.spec.context_length}:"
            " longer requests will be refused"
        )
        return replace(plan, warnings=(*plan.warnings, text))

    def _version(self, model_id: str, version_id: str) -> Version | None:
        model = self._handle.state.models.get(model_id)
        return model.versions.get(version_id) if model is not None else None

    def _check_engine(self, wish: VersionWish) -> None:
        name = wish.engine or DEFAULT_KIND.name
        kind = self._deps.engines.get(name)
        if kind is None:
            kinds = ", ".join(sorted(self._deps.engines))
            raise FieldInvalidError(Violation("engine", f"there is no engine of this kind; there are: {kinds}"))
        violations = kind.check_options(dict(wish.engine_options))
        if violations:
            raise FieldInvalidError(*violations)
        if wish.tier not in kind.tiers:
            raise NotImplementedHereError(
                f"engine {name} cannot keep a version {wish.tier.value}: leave tier out, or HOT"
            )

    def _check_limits(self, order: VersionOrder) -> None:
        """Check what a new operation would take up; a call that is answered by a known one takes nothing."""
        state, limits = self._handle.state, self._deps.limits
        open_count = sum(not o.done for o in state.operations.values())
        if open_count >= limits.max_open_operations:
            raise LimitExceededError("operations", f"{open_count} operations are open: wait for one of them", 5.0)
        model = state.models.get(order.model)
        if model is None and len(state.models) >= limits.max_models:
            raise LimitExceededError("models", f"there are {len(state.models)} models: delete one first", 60.0)
        known = () if model is None else model.versions
        if order.version not in known and len(known) >= limits.max_versions_per_model:
            text = f"the model has {len(known)} versions: delete one first"
            raise LimitExceededError(f"models/{order.model}/versions", text, 60.0)


def answered(operation: Operation | None) -> Operation:
    """Return the operation that answers an event which the core always answers with one."""
    if operation is None:
        raise AssertionError("the core took a caller's event and named no operation for it")
    return operation


def _from_known(wish: VersionWish, known: Version | None) -> VersionWish:
    """Return a wish without a source as one for the version that it names, as it was loaded before."""
    if wish.source_uri or known is None:
        return wish
    spec = changed_spec(wish, known)
    return replace(
        wish,
        source_uri=spec.source_uri,
        engine=spec.engine,
        engine_options=spec.engine_options,
        dtype=spec.dtype,
        context_length=spec.context_length,
        max_concurrency=spec.max_concurrency,
        replicas=spec.replicas,
        reservoir=spec.reservoir,
    )


def _unplanned(spec: VersionSpec, facts: ModelFacts) -> Plan:
    return Plan(
        fits=False,
        architecture=facts.architecture,
        parameter_count=facts.parameter_count,
        dtype=spec.dtype,
        context_length=spec.context_length,
        max_concurrency=spec.max_concurrency,
        replicas=spec.replicas,
        bytes=0,
        upper_bytes=0,
    )


def _answer(rehearsal: Step) -> Operation:
    replies = [e.operation_id for e in rehearsal.effects if isinstance(e, Reply)]
    return rehearsal.state.operations[replies[-1]]


def _why_not(plan: Plan) -> str:
    beside = " beside the version that serves" if plan.surge else ""
    fits = "; ".join(f"{d.device_id} has {d.free_bytes} of {d.needed_bytes} bytes free" for d in plan.devices)
    count = len(plan.alternatives)
    what = f"; {count} alternatives fit, see the plan" if count else "; nothing near it fits: free memory first"
    return f"{plan.replicas} x {plan.upper_bytes} bytes do not fit{beside} ({fits or 'no device'}){what}"
