"""StatusService: how the control plane stands, in numbers and in events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from echoplane.v1 import diagnostics_pb2, diagnostics_pb2_grpc, types_pb2
from echoplaned.core.devices import memory_alarms
from echoplaned.core.effects import Announce
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import key_name, model_name, operation_name, rollout_name
from echoplaned.core.queries import weight_ppm
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Model, Version
from echoplaned.engine_kinds import EngineKind
from echoplaned.ports.request_counts import CountedBy
from echoplaned.rpc.convert.common import by_name, duration, timestamp, timestamp_or_none
from echoplaned.rpc.convert.devices import device_summary
from echoplaned.rpc.convert.events import event_to_pb, resume_token_error, sequence_of
from echoplaned.rpc.convert.latencies import histogram_to_pb
from echoplaned.rpc.convert.models import serving_version_name
from echoplaned.rpc.convert.rollouts import PHASE_TO_PB
from echoplaned.rpc.convert.usage import tokens_to_pb, usage_to_pb
from echoplaned.rpc.deps import RpcDeps
from echoplaned.rpc.explain import explain
from echoplaned.rpc.following import Watchers, closing, until_stop
from echoplaned.rpc.health_view import model_health, ready_count
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.load_outcomes import LoadOutcomeCounter
from echoplaned.rpc.lookup import find_model
from echoplaned.rpc.names import parse_model

EVENTS_RETAINED = 10_000
_SOURCE_TO_PB = by_name(diagnostics_pb2.CountSource, "COUNT_SOURCE", CountedBy)


class StatusService(diagnostics_pb2_grpc.StatusServiceServicer):
    """Reads snapshots; changes nothing."""

    def __init__(self, deps: RpcDeps, watchers: Watchers, load_outcomes: LoadOutcomeCounter) -> None:
        self._deps = deps
        self._handle = deps.handle
        self._watchers = watchers
        self._load_outcomes = load_outcomes

    async def GetStatus(  # noqa: N802 - the API's name
        self, request: diagnostics_pb2.GetStatusRequest, context: Context
    ) -> diagnostics_pb2.GetStatusResponse:
        """Return how the control plane stands."""
        state = self._handle.state
        models = [model for _, model in sorted(state.models.items())]
        operations = sorted((o for o in state.operations.values() if not o.done), key=lambda o: o.create_time_s)
        return diagnostics_pb2.GetStatusResponse(
            daemon_version=self._deps.daemon_version,
            uptime=duration(max(0.0, self._handle.now_s() - self._deps.start_time_s)),
            start_time=timestamp(self._deps.start_time_s),
            devices=[device_summary(d, state) for d in state.devices],
            models=[_model_summary(m) for m in models],
            open_operations=[operation_name(o.operation_id) for o in operations],
            active_rollouts=[_rollout_summary(m.rollout) for m in models if m.rollout is not None],
            store_writable=self._deps.store_writable(),
            xds=self._xds(),
            alarms=[*self._store_alarm(), *self._deps.alarms(), *memory_alarms(state), *_alarms(models)],
            gateway=self._gateway(),
            engines=[self._engine_summary(kind) for _, kind in sorted(self._deps.engines.items())],
        )

    async def GetMetrics(  # noqa: N802 - the API's name
        self, request: diagnostics_pb2.GetMetricsRequest, context: Context
    ) -> diagnostics_pb2.GetMetricsResponse:
        """Return counters and sizes."""
        state = self._handle.state
        if request.model:
            models = [find_model(state, parse_model(request.model, "model"))]
        else:
            models = [model for _, model in sorted(state.models.items())]
        versions = [(m, v) for m in models for _, v in sorted(m.versions.items())]
        totals = self._load_outcomes.observe(state)
        return diagnostics_pb2.GetMetricsResponse(
            time=timestamp(self._handle.now_s()),
            versions=[self._version_metrics(m, v) for m, v in versions],
            loads=diagnostics_pb2.LoadCounts(
                succeeded_count=totals.succeeded,
                failed_count=totals.failed,
                refused_count=totals.refused,
                cancelled_count=totals.cancelled,
                cached_count=totals.cached,
            ),
            cache_hit_count=sum(v.cache.hits for _, v in versions),
            cache_miss_count=sum(v.cache.misses for _, v in versions),
            xds=self._xds(),
        )

    async def GetHealth(  # noqa: N802 - the API's name
        self, request: diagnostics_pb2.GetHealthRequest, context: Context
    ) -> diagnostics_pb2.GetHealthResponse:
        """Say whether the control plane answers."""
        reasons = self._store_alarm()
        if self._deps.lifecycle.stopping:
            state, reasons = types_pb2.HEALTH_STATE_NOT_SERVING, [*reasons, "the daemon stops"]
        else:
            state = types_pb2.HEALTH_STATE_DEGRADED if reasons else types_pb2.HEALTH_STATE_SERVING
        return diagnostics_pb2.GetHealthResponse(state=state, reasons=reasons, daemon_version=self._deps.daemon_version)

    async def GetUsage(  # noqa: N802 - as above
        self, request: diagnostics_pb2.GetUsageRequest, context: Context
    ) -> diagnostics_pb2.GetUsageResponse:
        """Return what the gateway's callers used."""
        model = parse_model(request.model, "model") if request.model else ""
        report, tokens = self._deps.usage(), self._deps.tokens()
        found = (each for each in sorted(report.usages.items()) if model in {"", each[0].model})
        return diagnostics_pb2.GetUsageResponse(
            time=timestamp(self._handle.now_s()),
            start_time=timestamp(report.start_s),
            usages=[usage_to_pb(key, usage) for key, usage in found if request.client in {"", key.client}],
            tokens=[tokens_to_pb(key, tokens.totals[key]) for key in _of_model(tokens.totals, model)],
            uncounted_versions=map(key_name, _of_model(tokens.uncounted, model)),
        )

    async def Explain(  # noqa: N802 - the API's name
        self, request: diagnostics_pb2.ExplainRequest, context: Context
    ) -> diagnostics_pb2.ExplainResponse:
        """Say why something is as it is."""
        return await explain(self._handle, request.name, self._deps.refusals, self._deps.latencies, self._deps.gateway)

    async def WatchEvents(  # noqa: N802 - the API's name
        self, request: diagnostics_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[diagnostics_pb2.ModelEvent]:
        """Send events from a token on, or from now on, as they happen."""
        after = self._after(request.resume_token)
        subject = model_name(parse_model(request.model, "model")) if request.model else ""
        with self._watchers.reserve(context.peer()):
            # The headers say that the stream has begun: what happens from here on will be told.
            await context.send_initial_metadata(())
            async with closing(self._handle.follow(after)) as told:
                while True:
                    announce = await until_stop(self._deps.lifecycle, anext(told))
                    if _is_about(announce, subject):
                        yield event_to_pb(announce)

    def _after(self, token: str) -> int:
        latest = self._handle.state.announce_sequence
        if not token:
            return latest
        sequence = sequence_of(token)
        if sequence > latest or sequence < latest - EVENTS_RETAINED:
            raise resume_token_error()
        return sequence

    def _xds(self) -> diagnostics_pb2.XdsCounts:
        totals = self._deps.xds()
        return diagnostics_pb2.XdsCounts(
            stream_count=totals.streams, push_count=totals.pushes, ack_count=totals.acks, nack_count=totals.nacks
        )

    def _engine_summary(self, kind: EngineKind) -> diagnostics_pb2.EngineSummary:
        return diagnostics_pb2.EngineSummary(
            kind=kind.name,
            version=self._deps.engine_versions.get(kind.name, ""),
            configured=kind.is_configured,
            problem=kind.absence,
            formats=sorted(kind.formats),
        )

    def _gateway(self) -> diagnostics_pb2.GatewayStatus:
        found = self._deps.gateway()
        return diagnostics_pb2.GatewayStatus(
            state=f"GATEWAY_STATE_{found.state.value}",
            listen_address=found.listening,
            pid=found.pid,
            restart_count=found.restarts,
            last_failure=found.last_failure,
            certificate_expire_time=timestamp_or_none(found.certificate_expires_s or None),
        )

    def _store_alarm(self) -> list[str]:
        if self._deps.store_writable():
            return []
        return ["the store cannot be written: calls that change something answer STORE_UNAVAILABLE"]

    def _version_metrics(self, model: Model, version: Version) -> diagnostics_pb2.VersionMetrics:
        return diagnostics_pb2.VersionMetrics(
            version=key_name(version.key),
            weight_ppm=weight_ppm(model, version.key.version),
            requests=self._requests(version),
            predicted_bytes=version.plan.bytes,
            upper_bytes=version.plan.upper_bytes,
            measured_bytes=max((i.measured_bytes for i in version.instances), default=0),
            cache_hit_count=version.cache.hits,
            cache_miss_count=version.cache.misses,
            load_duration=None if version.load_duration_s is None else duration(version.load_duration_s),
            restart_count=sum(i.generation - 1 for i in version.instances),
            latencies=[histogram_to_pb(one) for one in self._deps.latencies(version.key)],
        )

    def _requests(self, version: Version) -> list[diagnostics_pb2.RequestCounts]:
        found = []
        for source, traffic in self._deps.traffic.items():
            counts = traffic.totals().get(version.key)
            if counts is not None:
                found.append(
                    diagnostics_pb2.RequestCounts(
                        source=_SOURCE_TO_PB[source],
                        ok_count=counts.ok,
                        client_error_count=counts.client_errors,
                        server_error_count=counts.server_errors,
                        in_flight_count=counts.in_flight,
                        arrival_count=counts.arrivals,
                        overload_count=counts.overloads,
                    )
                )
        return found


def _is_about(announce: Announce, subject: str) -> bool:
    return not subject or announce.subject == subject or announce.subject.startswith(f"{subject}/")


def _model_summary(model: Model) -> diagnostics_pb2.ModelSummary:
    return diagnostics_pb2.ModelSummary(
        name=model_name(model.model_id),
        serving_version=serving_version_name(model),
        health=model_health(model),
        version_count=len(model.versions),
        ready_instance_count=sum(ready_count(v) for v in model.versions.values()),
        rollout=rollout_name(model.model_id, model.rollout.rollout_id) if model.rollout is not None else "",
    )


def _of_model(versions: Iterable[VersionKey], model: str) -> list[VersionKey]:
    """Return the versions of a model, or of all where it is empty, by name."""
    return sorted((key for key in versions if model in {"", key.model}), key=key_name)


def _rollout_summary(rollout: Rollout) -> diagnostics_pb2.RolloutSummary:
    return diagnostics_pb2.RolloutSummary(
        name=rollout_name(rollout.model, rollout.rollout_id),
        phase=PHASE_TO_PB[rollout.phase],
        stage=rollout.stage,
        stage_count=len(rollout.policy.stages_percent),
        held_reason=rollout.held_reason,
    )


def _alarms(models: list[Model]) -> list[str]:
    alarms = []
    for model in models:
        for version in model.versions.values():
            name = key_name(version.key)
            alarms += [f"{name}#{i.key.ordinal}: its process does not end" for i in version.instances if i.alarm]
            if version.failure is not None:
                alarms.append(f"{name} was given up: {version.failure.message}")
        alarms += [f"{model_name(model.model_id)}: {fault.alarm}" for fault in model.faults]
    return alarms
