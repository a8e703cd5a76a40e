"""Operations as ``google.longrunning.Operation``.

Their progress is read off the versions and rollouts that they work on.
"""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from echoplane.googleapis import operations_pb2 as longrunning_pb2
from echoplane.v1 import models_pb2, operations_pb2
from echoplaned.core.contexts import is_context_open, served_context
from echoplaned.core.names import model_name, operation_name, rollout_name, version_name
from echoplaned.core.plan import Plan
from echoplaned.core.rollout_state import Phase
from echoplaned.core.state import InstanceState, Model, Operation, OperationKind, State, Version
from echoplaned.ports.leaders import PidOf
from echoplaned.rpc.convert.common import by_name, timestamp, timestamp_or_none
from echoplaned.rpc.convert.models import model_to_pb
from echoplaned.rpc.convert.plans import plan_to_pb
from echoplaned.rpc.convert.versions import version_to_pb
from echoplaned.rpc.status import to_status

_KIND_TO_PB = by_name(operations_pb2.OperationKind, "OPERATION_KIND", OperationKind)
_READ = frozenset({InstanceState.PROBING, InstanceState.READY})
_GOING_BACK = frozenset({Phase.REVERTING, Phase.CLEANING})


def operation_to_pb(operation: Operation, state: State, pid_of: PidOf) -> longrunning_pb2.Operation:
    """Return an operation with its metadata.

    Once it is done, with its response or error as well.
    """
    message = longrunning_pb2.Operation(name=operation_name(operation.operation_id), done=operation.done)
    message.metadata.Pack(metadata_to_pb(operation, state))
    if not operation.done:
        return message
    if operation.failure is not None:
        message.error.CopyFrom(to_status(operation.failure))
    else:
        message.response.Pack(_response(operation, state, pid_of))
    return message


def planned_to_pb(operation: Operation, plan: Plan, state: State) -> longrunning_pb2.Operation:
    """Return the answer to ``validate_only``, a dry run.

    It has no name and is done, with the plan in its metadata and as its response.
    """
    message = longrunning_pb2.Operation(done=True)
    metadata = metadata_to_pb(operation, state)
    metadata.plan.CopyFrom(plan_to_pb(plan))
    metadata.phase = operations_pb2.OPERATION_PHASE_DONE
    metadata.rollout = ""
    message.metadata.Pack(metadata)
    message.response.Pack(metadata.plan)
    return message


def metadata_to_pb(operation: Operation, state: State) -> operations_pb2.OperationMetadata:
    """Return an operation's progress."""
    model = state.models.get(operation.model)
    version = model.versions.get(operation.version) if model is not None else None
    named = version_name(operation.model, operation.version) if operation.version else model_name(operation.model)
    return operations_pb2.OperationMetadata(
        target=named,
        phase=_phase(operation, model, version),
        done_bytes=_done_bytes(operation, version),
        total_bytes=_total_bytes(operation, version),
        start_time=timestamp(operation.create_time_s),
        estimated_finish_time=timestamp_or_none(_estimate_s(operation, version)),
        plan=None if operation.plan is None else plan_to_pb(operation.plan),
        kind=_KIND_TO_PB[operation.kind],
        rollout=rollout_name(operation.model, operation.rollout_id) if operation.rollout_id else "",
        cache_hit=was_cache_hit(operation, version),
        request_id=operation.request_id,
        end_time=timestamp_or_none(operation.end_time_s),
        waiting_reason=_waiting_reason(operation, model),
        context_length=0 if version is None or is_context_open(version) else served_context(version),
    )


def _waiting_reason(operation: Operation, model: Model | None) -> str:
    """Say what the instances of an operation's version wait for, each reason once."""
    waits = () if model is None or operation.done else model.waits
    reasons = [one.reason for one in waits if one.instance.version.version == operation.version]
    return "; ".join(dict.fromkeys(reasons))


def was_cache_hit(operation: Operation, version: Version | None) -> bool:
    """Say whether an operation found its version ready.

    It ended as it began, or the version's load ended before it.
    """
    if operation.kind not in {OperationKind.LOAD, OperationKind.UPDATE} or operation.failure is not None:
        return False
    if operation.done and operation.end_time_s == operation.create_time_s:
        return True
    if operation.kind is OperationKind.LOAD or version is None or version.load_duration_s is None:
        return False
    return version.load_started_s + version.load_duration_s <= operation.create_time_s


def _phase(operation: Operation, model: Model | None, version: Version | None) -> operations_pb2.OperationPhase:
    if operation.done:
        return operations_pb2.OPERATION_PHASE_DONE
    if operation.kind in {OperationKind.DELETE_MODEL, OperationKind.DELETE_VERSION}:
        return operations_pb2.OPERATION_PHASE_DRAINING
    rollout = model.rollout if model is not None else None
    if operation.kind is OperationKind.UPDATE and rollout is not None and rollout.phase is not Phase.PREPARING:
        back = rollout.phase in _GOING_BACK
        return operations_pb2.OPERATION_PHASE_REVERTING if back else operations_pb2.OPERATION_PHASE_ROLLING_OUT
    return _loading_phase(version)


def _loading_phase(version: Version | None) -> operations_pb2.OperationPhase:
    states = {i.state for i in version.instances} if version is not None else set()
    if InstanceState.PROBING in states:
        return operations_pb2.OPERATION_PHASE_PROBING
    if InstanceState.STARTING in states or InstanceState.READY in states:
        return operations_pb2.OPERATION_PHASE_LOADING
    return operations_pb2.OPERATION_PHASE_PLANNING if states else operations_pb2.OPERATION_PHASE_PENDING


def _total_bytes(operation: Operation, version: Version | None) -> int:
    loads = operation.kind in {OperationKind.LOAD, OperationKind.UPDATE}
    return version.facts.weights_bytes * version.spec.shape.replicas if loads and version is not None else 0


def _done_bytes(operation: Operation, version: Version | None) -> int:
    """Return the bytes of weights that have been read, in whole instances only.

    An engine does not say how far it has read.
    """
    if version is None or not _total_bytes(operation, version):
        return 0
    return version.facts.weights_bytes * sum(i.state in _READ for i in version.instances)


def _estimate_s(operation: Operation, version: Version | None) -> float | None:
    """Return when a load is expected to end, seconds since the epoch.

    It takes about as long as the version's last one did; None where there was none, or where no load is under way.
    """
    if operation.done or operation.kind is not OperationKind.LOAD or version is None or version.load_duration_s is None:
        return None
    return operation.create_time_s + version.load_duration_s


def _response(operation: Operation, state: State, pid_of: PidOf) -> Message:
    model = state.models.get(operation.model)
    match operation.kind:
        case OperationKind.LOAD:
            version = model.versions.get(operation.version) if model is not None else None
            if model is None or version is None:  # deleted since
                return models_pb2.ModelVersion(name=version_name(operation.model, operation.version))
            return version_to_pb(model, version, pid_of)
        case OperationKind.UPDATE:
            if model is None:  # deleted since
                return models_pb2.Model(name=model_name(operation.model))
            return model_to_pb(model)
        case OperationKind.DELETE_MODEL | OperationKind.DELETE_VERSION:
            return Empty()
