"""Why something is as it is: the decisions about a resource.

They are read off its history, its plan and what was announced of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from echoplane.v1 import diagnostics_pb2
from echoplaned.core.effects import Announce
from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.names import key_name, model_name, operation_name, rollout_name, version_name
from echoplaned.core.queries import has_served, version_state
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.signals import publish_fault
from echoplaned.core.state import Model, Operation, State, Version
from echoplaned.ports.gateway import GatewayStatus, ReadGateway
from echoplaned.ports.handle import Handle
from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.rpc.convert.behaviour import behaviour_to_pb
from echoplaned.rpc.convert.common import timestamp
from echoplaned.rpc.convert.models import published_weights
from echoplaned.rpc.convert.plans import plan_to_pb
from echoplaned.rpc.convert.rollouts import decisive, entry_kind, verdict_to_pb
from echoplaned.rpc.following import closing
from echoplaned.rpc.gateway_view import told_routes
from echoplaned.rpc.health_view import ready_count, why_not
from echoplaned.rpc.lookup import all_rollouts, find_model, find_operation, find_rollout, find_version
from echoplaned.rpc.names import parse_model, parse_operation, parse_rollout, parse_version

DECISIONS_SHOWN = 100
_ANNOUNCES_READ = 2000
_READ_TIMEOUT_S = 2.0
_MEASURES = {
    Measure.FIRST_TOKEN: "time to the first token",
    Measure.INTER_TOKEN: "time from one token to the next",
    Measure.END_TO_END: "time of a whole request",
}

Decisions = list[diagnostics_pb2.Decision]
Refusals = tuple[RecordedRefusal, ...]


async def explain(
    handle: Handle,
    name: str,
    refusals: Callable[[str], Refusals] = lambda _model: (),
    latencies: Callable[[VersionKey], tuple[Histogram, ...]] = lambda _version: (),
    gateway: ReadGateway = GatewayStatus,
) -> diagnostics_pb2.ExplainResponse:
    """Explain a model, a version, a rollout or an operation by its name.

    Args:
        handle: the state and what was announced.
        name: of the resource.
        refusals: returns what subscribers refused of a model's routes, the latest first.
        latencies: returns how long a version's requests took.
        gateway: returns the state of the gateway's Envoy.

    Raises:
        DaemonError: there is no such resource.
    """
    state = handle.state
    announces = await _read_announces(handle, state.announce_sequence)
    if "operations/" in name:
        answer = _operation(state, find_operation(state, parse_operation(name)), announces)
        answer.refusals.extend(_of_operation(state, parse_operation(name), refusals))
    elif "/versions/" in name:
        model, version = find_version(state, parse_version(name))
        answer = _version(model, version, announces, latencies(version.key))
        answer.refusals.extend(_refusal(r) for r in refusals(model.model_id) if key_name(version.key) in r.resources)
    elif "/rollouts/" in name:
        model, rollout = find_rollout(state, *parse_rollout(name))
        answer = _rollout(model, rollout)
        answer.refusals.extend(_during(rollout, refusals(model.model_id)))
    else:
        model = find_model(state, parse_model(name))
        answer = _model(model, announces, told_routes(gateway(), model))
        answer.refusals.extend(_refusal(refusal) for refusal in refusals(model.model_id))
    # Each source tells the oldest first, so that of two at the same time the later one in the list is the later one.
    latest = sorted(answer.decisions, key=lambda d: d.time.ToNanoseconds())[::-1][:DECISIONS_SHOWN]
    return diagnostics_pb2.ExplainResponse(
        name=answer.name,
        summary=answer.summary,
        decisions=latest,
        refusals=answer.refusals,
        behaviour=answer.behaviour if answer.HasField("behaviour") else None,
    )


async def _read_announces(handle: Handle, until: int) -> list[Announce]:
    """Return the latest announcements up to a sequence number.

    What is not there in time is left out.
    """
    found: list[Announce] = []
    if until == 0:
        return found
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S), closing(handle.follow(max(0, until - _ANNOUNCES_READ))) as told:
            async for announce in told:
                found.append(announce)
                if announce.sequence >= until:
                    break
    except TimeoutError:
        pass
    return found


def _model(
    model: Model, announces: list[Announce], through_gateway: tuple[str, ...]
) -> diagnostics_pb2.ExplainResponse:
    name = model_name(model.model_id)
    weights = ", ".join(f"{v} {ppm / 1e4:g} %" for v, ppm in sorted(published_weights(model).items()))
    rollout = model.rollout
    parts = [
        f"{name} serves {model.serving_version}" if has_served(model) else f"{name} serves nothing yet",
        f"traffic: {weights}" if weights else "no traffic is routed",
        why_not(model),
        *(fault.alarm for fault in model.faults if fault is not publish_fault(model)),  # which why_not tells
        "" if rollout is None else f"rollout {rollout.rollout_id}: {_where(rollout)}",
        *through_gateway,
    ]
    decisions = _announced(announces, name)
    rollouts = all_rollouts(model)
    for known in rollouts:
        decisions += _history(known)
    answer = _answer(name, parts, decisions)
    answer.MergeFrom(_behaviour_of(max(rollouts, key=lambda r: r.create_time_s, default=None)))
    return answer


def _version(
    model: Model, version: Version, announces: list[Announce], latencies: tuple[Histogram, ...]
) -> diagnostics_pb2.ExplainResponse:
    name = key_name(version.key)
    weight = published_weights(model).get(version.key.version, 0)
    parts = [
        f"{name} is {version_state(version).value}: {ready_count(version)} of {version.spec.shape.replicas} instances answer",
        f"it has {weight / 1e4:g} % of the traffic",
        *(_took(one) for one in latencies),
        "" if version.failure is None else version.failure.message,
        *(f"instance {i.key.ordinal} does not end" for i in version.instances if i.alarm),
        *(fault.alarm for i in version.instances for fault in model.faults if fault.key[1] == str(i.key)),
    ]
    placed = diagnostics_pb2.Decision(
        time=timestamp(version.load_started_s),
        subject=name,
        kind="placed",
        text=f"{version.plan.upper_bytes} bytes an instance on {', '.join(version.plan.device_ids) or 'no device yet'}",
        plan=plan_to_pb(version.plan),
    )
    decisions = [placed, *_announced(announces, name)]
    for rollout in all_rollouts(model):
        if version.key.version in {rollout.from_version, rollout.to_version}:
            decisions += _history(rollout)
    return _answer(name, parts, decisions)


def _took(histogram: Histogram) -> str:
    """Say how long half of all took, and nearly all; empty where nothing was counted."""
    if not histogram.count:
        return ""
    half, most = (histogram.bound_s(share) for share in (0.5, 0.99))
    above = f"more than {histogram.bounds_s[-1]:g} s" if histogram.bounds_s else "unknown"
    shown = [above if bound is None else f"at most {bound:g} s" for bound in (half, most)]
    return f"{_MEASURES[histogram.measure]}: half took {shown[0]}, 99 % {shown[1]} ({histogram.count} counted)"


def _rollout(model: Model, rollout: Rollout) -> diagnostics_pb2.ExplainResponse:
    name = rollout_name(rollout.model, rollout.rollout_id)
    active = model.rollout is not None and model.rollout.rollout_id == rollout.rollout_id
    parts = [
        f"{name} from {rollout.from_version} to {rollout.to_version} is {_where(rollout)}",
        "" if rollout.ending is None else rollout.ending.message,
        *(f"{v.gate}: {v.verdict.value}, {v.reason}" for v in rollout.verdicts),
        f"{rollout.stale_subscriber_count} subscribers do not answer" if rollout.stale_subscriber_count else "",
        _waits(model) if active else "",
    ]
    answer = _answer(name, parts, _history(rollout))
    answer.MergeFrom(_behaviour_of(rollout))
    return answer


def _behaviour_of(rollout: Rollout | None) -> diagnostics_pb2.ExplainResponse:
    """Return what the gate ``echo`` measured last in a rollout, by itself."""
    if rollout is None:
        return diagnostics_pb2.ExplainResponse()
    given = (rollout.verdicts, *(entry.verdicts for entry in reversed(rollout.history)))
    found = next((v.behaviour for verdicts in given for v in verdicts if v.behaviour is not None), None)
    return diagnostics_pb2.ExplainResponse(behaviour=None if found is None else behaviour_to_pb(found))


def _operation(state: State, operation: Operation, announces: list[Announce]) -> diagnostics_pb2.ExplainResponse:
    name = operation_name(operation.operation_id)
    target = version_name(operation.model, operation.version) if operation.version else model_name(operation.model)
    done = "is under way" if not operation.done else "succeeded" if operation.failure is None else "failed"
    parts = [
        f"{name} ({operation.kind.value} of {target}) {done}",
        "" if operation.failure is None else f"{operation.failure.reason.value}: {operation.failure.message}",
    ]
    accepted = diagnostics_pb2.Decision(
        time=timestamp(operation.create_time_s),
        subject=name,
        kind="accepted",
        text=f"{operation.kind.value} of {target} was accepted",
        plan=None if operation.plan is None else plan_to_pb(operation.plan),
    )
    decisions = [accepted, *_announced(announces, target)]
    model = state.models.get(operation.model)
    for rollout in all_rollouts(model) if model is not None else ():
        if rollout.rollout_id == operation.rollout_id:
            decisions += _history(rollout)
    return _answer(name, parts, decisions)


def _of_operation(
    state: State, operation_id: str, refusals: Callable[[str], Refusals]
) -> list[diagnostics_pb2.Refusal]:
    operation = find_operation(state, operation_id)
    model = state.models.get(operation.model)
    rollouts = all_rollouts(model) if model is not None and operation.rollout_id else ()
    rollout = next((r for r in rollouts if r.rollout_id == operation.rollout_id), None)
    return [] if rollout is None else _during(rollout, refusals(operation.model))


def _during(rollout: Rollout, refusals: Refusals) -> list[diagnostics_pb2.Refusal]:
    """Return what was refused while a rollout was under way."""
    return [
        _refusal(refusal)
        for refusal in refusals
        if refusal.last_s >= rollout.create_time_s
        and (rollout.end_time_s is None or refusal.first_s <= rollout.end_time_s)
    ]


def _refusal(refusal: RecordedRefusal) -> diagnostics_pb2.Refusal:
    return diagnostics_pb2.Refusal(
        time=timestamp(refusal.last_s),
        first_time=timestamp(refusal.first_s),
        node=refusal.node,
        type_url=refusal.type_url,
        resources=refusal.resources,
        message=refusal.detail,
        counted=refusal.counted,
        count=refusal.count,
    )


def _where(rollout: Rollout) -> str:
    stages = len(rollout.policy.stages_percent)
    held = f", held: {rollout.held_reason}" if rollout.held_reason else ""
    paused = ", paused" if rollout.paused else ""
    return f"{rollout.phase.value} at stage {rollout.stage} of {stages}{held}{paused}"


def _waits(model: Model) -> str:
    progress = model.progress
    if progress.acknowledged:
        return ""
    return f"{progress.acknowledged_count} of {progress.subscriber_count} subscribers have the newest routes"


def _history(rollout: Rollout) -> Decisions:
    name = rollout_name(rollout.model, rollout.rollout_id)
    decisions = []
    for entry in rollout.history:
        verdict = decisive(entry.verdicts)
        decisions.append(
            diagnostics_pb2.Decision(
                time=timestamp(entry.time_s),
                subject=name,
                kind=entry_kind(entry),
                text=entry.text,
                verdict=None if verdict is None else verdict_to_pb(verdict, entry.stage, time_s=entry.time_s),
                evidence=[f"{v.gate}: {v.verdict.value}, {v.reason}" for v in entry.verdicts],
            )
        )
    return decisions


def _announced(announces: list[Announce], subject: str) -> Decisions:
    """Return what was announced of a resource and what belongs to it.

    Rollouts are left out: they tell their own, longer history.
    """
    return [
        diagnostics_pb2.Decision(time=timestamp(a.time_s), subject=a.subject, kind=a.kind, text=a.text)
        for a in announces
        if (a.subject == subject or a.subject.startswith(f"{subject}/")) and "/rollouts/" not in a.subject
    ]


def _answer(name: str, parts: list[str], decisions: Decisions) -> diagnostics_pb2.ExplainResponse:
    summary = "; ".join(part for part in parts if part)
    return diagnostics_pb2.ExplainResponse(name=name, summary=f"{summary}.", decisions=decisions)
