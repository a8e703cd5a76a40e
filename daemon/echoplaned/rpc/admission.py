"""The one way from a request to a version's source, facts, plan and core command."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from echoplane.v1 import models_pb2, planning_pb2
from echoplaned.core.budgets import Budget
from echoplaned.core.commands import LoadVersion, Request, UpdateModel, VersionOrder
from echoplaned.core.commands.request import find_repeated
from echoplaned.core.contexts import replaced_context, served_context, served_shape
from echoplaned.core.effects import Reply
from echoplaned.core.errors import (
    ArchitectureUnsupportedError,
    DaemonError,
    DtypeUnsupportedError,
    FieldInvalidError,
    LimitExceededError,
    ModelNotFoundError,
    NotImplementedHereError,
    SourceUnsupportedError,
    VersionNotFoundError,
)
from echoplaned.core.events import DeviceMemoryMeasured
from echoplaned.core.facts import ModelFacts
from echoplaned.core.failure import InvalidField
from echoplaned.core.fit import require_fit
from echoplaned.core.memory import RELEASE_SETTLES_S
from echoplaned.core.names import model_name, version_name
from echoplaned.core.plan import Plan
from echoplaned.core.spec import BehaviourChange, ReservoirOverrides, RolloutPolicy, VersionSpec
from echoplaned.core.state import Operation, Version
from echoplaned.core.step import Step, step
from echoplaned.engine_kinds import DEFAULT_KIND, describe_absence
from echoplaned.ports.own_tasks import outcome_of
from echoplaned.ports.planning import InspectedSource, PlanQuestion, SizeQuestion
from echoplaned.ports.stop import Stop
from echoplaned.rpc.blocking import BlockingCalls
from echoplaned.rpc.convert.common import BEHAVIOUR_FROM_PB
from echoplaned.rpc.convert.rollouts import policy_from_pb
from echoplaned.rpc.deduplication import RequestDeduplicator, digest_of
from echoplaned.rpc.deps import RpcDeps
from echoplaned.rpc.fair_semaphore import FairSemaphore
from echoplaned.rpc.load_outcomes import LoadOutcomeCounter
from echoplaned.rpc.principal import current_principal
from echoplaned.rpc.shares import OperationShares
from echoplaned.rpc.version_request import (
    VersionRequest,
    changed_spec,
    default_version_id,
    from_known,
    new_spec,
    read_version_request,
    same_content,
    with_longest,
)

_MAX_WAITING_DIGESTS: Final = 32

VersionEvent = LoadVersion | UpdateModel
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a request for a load or an update.

    Attributes:
        operation: the operation that answers it.
        planned: the plan of a dry run, which changed nothing; None: it was no dry run.
    """

    operation: Operation
    planned: Plan | None = None


class Admission:
    """Plans versions that callers ask for, and admits loads and updates of them."""

    def __init__(self, deps: RpcDeps, memory: RequestDeduplicator, load_outcomes: LoadOutcomeCounter) -> None:
        self._deps = deps
        self._handle = deps.handle
        self._memory = memory
        self._load_outcomes = load_outcomes
        limits = deps.limits
        waiting = Budget("calls that wait to be planned", limits.max_waiting_inspections)
        self._turns = FairSemaphore(limits.inspections, waiting)
        self._headers = BlockingCalls("headers", limits.inspections, limits.max_waiting_inspections)
        self._digests = BlockingCalls("digests", limits.inspections, _MAX_WAITING_DIGESTS)
        self._shares = OperationShares(limits.max_open_operations)

    async def load(self, request: models_pb2.LoadModelRequest, peer: str) -> Accepted:
        """Admit a load that a connection asks for.

        Raises:
            DaemonError: it is refused; nothing changed.
        """
        came_before = self.find_repeat(request)
        if came_before is not None:
            return Accepted(came_before)
        order = await self._order(read_version_request(request), peer)
        labels = tuple(sorted(request.labels.items())) if request.labels else None
        event = LoadVersion(self.stamp(request), order, labels, tuple(request.aliases) or None)
        return await self._submit(event, peer, validate_only=request.validate_only)

    async def update(self, request: models_pb2.UpdateModelRequest, peer: str) -> Accepted:
        """Admit an update that a connection asks for.

        Raises:
            DaemonError: it is refused; nothing changed.
        """
        came_before = self.find_repeat(request)
        if came_before is not None:
            return Accepted(came_before)
        asked = read_version_request(request)
        if asked.model not in self._handle.state.models:
            name = model_name(asked.model)
            raise ModelNotFoundError(name, f"{name} does not exist: load a first version")
        order = await self._order(asked, peer)
        event = UpdateModel(
            self.stamp(request),
            order,
            rollout_id=self._handle.new_id(),
            policy=policy_from_pb(request.policy) if request.HasField("policy") else RolloutPolicy(),
            behaviour_change=BEHAVIOUR_FROM_PB.get(request.behaviour_change, BehaviourChange.UNSPECIFIED),
            etag=request.etag,
            labels=tuple(sorted(request.labels.items())) if request.labels else None,
        )
        return await self._submit(event, peer, validate_only=request.validate_only)

    async def plan(self, request: planning_pb2.PlanModelRequest, peer: str) -> Plan:
        """Plan a version and change nothing: a batch of one.

        Raises:
            DaemonError: the source cannot be planned, or the model is not there.
        """
        (result,) = await self.plan_batch((request,), peer)
        if isinstance(result, DaemonError):
            raise result
        return result

    async def plan_batch(
        self, requests: Iterable[planning_pb2.PlanModelRequest], peer: str
    ) -> list[Plan | DaemonError]:
        """Plan each version, or say why not, as if those before it that fit were placed."""
        taken: Counter[str] = Counter()
        results: list[Plan | DaemonError] = []
        for request in requests:
            try:
                plan = await self._plan_one(read_version_request(request), taken, peer)
            except DaemonError as error:
                results.append(error)
                continue
            taken += plan.placed_bytes()
            results.append(plan)
        return results

    async def _plan_one(self, asked: VersionRequest, taken: Mapping[str, int], peer: str) -> Plan:
        if asked.model and asked.model not in self._handle.state.models:
            raise ModelNotFoundError(model_name(asked.model))
        self._check_engine(asked)
        try:
            spec, facts = await self._inspect(asked, peer)
        except (SourceUnsupportedError, ArchitectureUnsupportedError, DtypeUnsupportedError):
            # Sound files have a size, whoever serves them.
            question = SizeQuestion(
                asked.source_uri,
                asked.shape,
                asked.reservoir or ReservoirOverrides(),
                bool(asked.model),
                dict(taken),
                self._replaced_context(asked.model, surge=True),
            )
            planning = self._deps.planning
            return await self._read_headers(peer, lambda: planning.size(question, planning.look(self._handle.state)))
        least = self._replaced_context(asked.model, surge=True)
        return await self._plan(PlanQuestion(spec, facts, bool(asked.model), dict(taken), least))

    def find_repeat(self, request: models_pb2.LoadModelRequest | models_pb2.UpdateModelRequest) -> Operation | None:
        """Return the operation of the same request that came before.

        Raises:
            RequestIdReusedError: its id came with another body.
        """
        digest = digest_of(request)
        self._memory.refuse_reuse(request.request_id, digest)
        return find_repeated(self._handle.state, request.request_id, digest)

    def stamp(self, request: models_pb2.LoadModelRequest | models_pb2.UpdateModelRequest) -> Request:
        """Return what the core's command says of the request itself."""
        return Request(
            self._handle.now_s(), self._handle.new_id(), request.request_id, digest_of(request), current_principal()
        )

    async def _order(self, asked: VersionRequest, peer: str) -> VersionOrder:
        """Return what is wanted, with a plan that says nothing yet."""
        known = self._version(asked.model, asked.version)
        if not asked.source_uri and known is None:
            raise VersionNotFoundError(
                version_name(asked.model, asked.version),
                f"{version_name(asked.model, asked.version)} does not exist: give its source_uri",
            )
        completed = from_known(asked, known)
        self._check_engine(completed)
        if known is not None and not asked.source_uri and known.instances:
            spec, facts = changed_spec(asked, known), known.facts
        else:
            spec, facts = await self._inspect_all(completed, peer)
        version_id = asked.version or self._default_id(asked.model, spec, facts)
        known = self._version(asked.model, version_id)
        if known is not None and same_content(known, spec):
            spec = known.spec
        plan = _empty_plan(spec, facts)
        return VersionOrder(asked.model, version_id, spec, facts, plan, asked.tier, asked.pinned)

    def _default_id(self, model_id: str, spec: VersionSpec, facts: ModelFacts) -> str:
        """Return the id of a version that the caller did not name."""
        # A version that an older release loaded by this request keeps its id.
        older = default_version_id(with_longest(spec, facts))
        return older if self._version(model_id, older) is not None else default_version_id(spec)

    async def _inspect(self, asked: VersionRequest, peer: str) -> tuple[VersionSpec, ModelFacts]:
        found = await self._read_headers(
            peer, partial(self._deps.planning.inspect, asked.source_uri, asked.shape.engine)
        )
        return new_spec(asked, found, self._deps.limits.default_max_concurrency), found.facts

    async def _inspect_all(self, asked: VersionRequest, peer: str) -> tuple[VersionSpec, ModelFacts]:
        """Inspect a source and read all of it for the digest of its content."""
        found = await self._read_headers(
            peer, partial(self._deps.planning.inspect, asked.source_uri, asked.shape.engine)
        )
        # What is wrong with the rest of the request is found before gigabytes are read for it.
        spec = new_spec(asked, found, self._deps.limits.default_max_concurrency)
        stop = Stop()
        digest = partial(self._deps.planning.digest, found, stop)
        facts = await self._digests.run(digest, size=_bytes_of(found), give_up=stop.stop)
        return replace(spec, digest=facts.digest), facts

    async def _read_headers(self, peer: str, read: Callable[[], T]) -> T:
        """Read a source's headers in a connection's turn.

        Turns are fair between connections, and end with the caller; a thread's place lasts until what it reads is read.
        """
        async with self._turns.acquire(peer):
            return await self._headers.run(read)

    async def _submit(self, event: VersionEvent, peer: str, *, validate_only: bool) -> Accepted:
        """Try the command on the state, plan what it would start, then send it."""
        state = self._handle.state
        operation = _answer(step(state, event))
        known = self._version(event.order.model, event.order.version)
        with contextlib.ExitStack() as stack:
            # A call that a known operation answers takes nothing.
            if operation.operation_id == event.request.operation_id:
                stack.enter_context(self._shares.reserve(state, operation.operation_id, peer))
                self._check_limits(event.order)
                plan = await self._plan_for(event, known)
                event = replace(event, order=replace(event.order, plan=plan))
                operation = replace(operation, plan=plan)
            if validate_only:
                return Accepted(operation, operation.plan or event.order.plan)
            self._load_outcomes.observe(self._handle.state)
            # The core checks it once more when it takes it: the state may have changed meanwhile.
            given = await self._handle.give(event)
            # Whoever leaves now does not take it back: it is his until it is known what became of it.
            kept = stack.pop_all()
            given.add_done_callback(lambda _: kept.close())
        return Accepted(require_operation(await outcome_of(given)))

    async def _plan_for(self, event: VersionEvent, known: Version | None) -> Plan:
        if known is not None and known.instances:
            plan = known.plan  # its bytes are reserved already
        else:
            surge = isinstance(event, UpdateModel)
            least = self._replaced_context(event.order.model, event.order.version, surge=surge)
            spec = event.order.spec if known is None else replace(event.order.spec, shape=served_shape(known))
            plan = await self._plan_or_wait(PlanQuestion(spec, event.order.facts, surge, least_context=least))
        if not plan.fits:
            self._load_outcomes.count_refused()
        return self._with_warnings(event, require_fit(plan))

    async def _plan(self, question: PlanQuestion) -> Plan:
        """Plan on the devices as they are measured now."""
        planning, state = self._deps.planning, self._handle.state
        return await asyncio.to_thread(lambda: planning.plan(question, planning.look(state)))

    async def _plan_or_wait(self, question: PlanQuestion) -> Plan:
        """Plan a load, as if what was just released were free already.

        What an engine held that ended a moment ago is waited for by its instance, until it is measured as free.
        """
        planning, state = self._deps.planning, self._handle.state
        looked = await asyncio.to_thread(planning.look, state)
        if looked.measured != state.measured:
            # Ahead of the command, so that the loop places the instance on what it was planned on.
            self._deps.emit(DeviceMemoryMeasured(self._handle.now_s(), looked.measured))
        plan = await asyncio.to_thread(planning.plan, question, looked)
        released_s = state.released_s
        just_released = released_s is not None and self._handle.now_s() < released_s + RELEASE_SETTLES_S
        if plan.fits or not just_released:
            return plan
        promised = await asyncio.to_thread(planning.plan, question, replace(state, measured=()))
        return promised if promised.fits else plan

    def _replaced_context(self, model_id: str, version_id: str = "", *, surge: bool) -> int:
        """Return the replaced version's context, the least for an update's open one; or 0."""
        return replaced_context(self._handle.state.models.get(model_id), version_id) if surge and model_id else 0

    def _with_warnings(self, event: VersionEvent, plan: Plan) -> Plan:
        model = self._handle.state.models.get(event.order.model)
        serving = model.versions.get(model.serving_version) if model is not None else None
        if not isinstance(event, UpdateModel) or serving is None:
            return plan
        context, served = plan.context_length, served_context(serving)
        if context >= served:
            return plan
        text = (
            f"the new version answers at most {context} tokens, the serving one {served}:"
            " longer requests will be refused"
        )
        return replace(plan, warnings=(*plan.warnings, text))

    def _version(self, model_id: str, version_id: str) -> Version | None:
        model = self._handle.state.models.get(model_id)
        return model.versions.get(version_id) if model is not None else None

    def _check_engine(self, asked: VersionRequest) -> None:
        name = asked.shape.engine or DEFAULT_KIND.name
        kind = self._deps.engines.get(name)
        if kind is None or not kind.is_configured:
            known = tuple(self._deps.engines.values())
            raise FieldInvalidError(InvalidField("engine", describe_absence(name, known)))
        shape = asked.shape
        violations = (
            *kind.check_options(dict(shape.options)),
            *kind.check_weights_format(shape.weights_format),
            *kind.check_dtype(shape.dtype),
        )
        if violations:
            raise FieldInvalidError(*violations)
        if asked.tier not in kind.tiers:
            raise NotImplementedHereError(
                f"engine {name} cannot keep a version {asked.tier.value}: leave tier out, or HOT"
            )

    def _check_limits(self, order: VersionOrder) -> None:
        """Check what a new operation would make: another model, another version."""
        state, limits = self._handle.state, self._deps.limits
        model = state.models.get(order.model)
        if model is None and len(state.models) >= limits.max_models:
            raise LimitExceededError("models", f"there are {len(state.models)} models: delete one first", 60.0)
        known = () if model is None else model.versions
        if order.version not in known and len(known) >= limits.max_versions_per_model:
            text = f"the model has {len(known)} versions: delete one first"
            raise LimitExceededError(f"{model_name(order.model)}/versions", text, 60.0)


def require_operation(operation: Operation | None) -> Operation:
    """Return the operation of a command that the core always answers with one."""
    if operation is None:
        raise AssertionError("the core took a command and named no operation for it")
    return operation


def _bytes_of(found: InspectedSource) -> int:
    """Return how many bytes a digest has to read."""
    return 0 if found.facts.content is None else sum(file.size_bytes for file in found.facts.content.files)


def _empty_plan(spec: VersionSpec, facts: ModelFacts) -> Plan:
    return Plan(
        fits=False,
        architecture=facts.architecture,
        parameter_count=facts.parameter_count,
        dtype=spec.shape.dtype,
        context_length=spec.shape.context_length,
        max_concurrency=spec.shape.max_concurrency,
        replicas=spec.shape.replicas,
        bytes=0,
        upper_bytes=0,
    )


def _answer(dry_run: Step) -> Operation:
    replies = [e.operation_id for e in dry_run.effects if isinstance(e, Reply)]
    return dry_run.state.operations[replies[-1]]
