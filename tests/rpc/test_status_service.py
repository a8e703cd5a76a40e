"""StatusService: status, metrics, health, events, explanations."""

from __future__ import annotations

import grpc
import pytest

from echoplane.v1 import diagnostics_pb2, models_pb2, rollouts_pb2, types_pb2
from echoplaned.core.engine_events import EngineLost, MemoryMeasured
from echoplaned.core.events import AdapterFailed
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.rollout_state import GateVerdict
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds.installed import find_missing
from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.ports.request_counts import CountedBy, RequestCounts
from echoplaned.ports.tokens import TokenReport
from echoplaned.ports.usage import UsageKey, UsageReport, UsageTotals

from .reading import metadata, rest_of
from .world import World, failed

CODE = grpc.StatusCode
FP32 = VersionKey("minilm", "fp32")


async def test_status(world: World) -> None:
    """GetStatus has devices, models, open operations, rollouts, the store and alarms in one message."""
    await world.load("fp32")
    await world.update("int8")
    world.script.start = False
    waits = await world.load("fp32", "bert")
    world.handle.advance(7)
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    assert status.daemon_version == "0.1.0"
    assert status.uptime.seconds == 7
    assert status.devices[0].reserved_bytes == sum(
        i.placement.total_bytes
        for m in world.handle.state.models.values()
        for v in m.versions.values()
        for i in v.instances
        if i.placement is not None
    )
    assert [m.name for m in status.models] == ["models/bert", "models/minilm"]
    assert status.models[1].health == types_pb2.HEALTH_STATE_SERVING
    assert (status.models[1].version_count, status.models[1].ready_instance_count) == (2, 2)
    assert waits.name in status.open_operations
    assert [(r.phase, r.stage, r.stage_count) for r in status.active_rollouts] == [
        (rollouts_pb2.ROLLOUT_PHASE_OBSERVING, 1, 7)
    ]
    assert status.store_writable
    assert not status.alarms


async def test_status_says_which_engines_there_are(world: World) -> None:
    """Each kind with what it reads; one that is not installed with what to do."""
    world.engines["torch"] = find_missing(world.engines["torch"], lambda module: module != "torch")
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    engines = {engine.kind: engine for engine in status.engines}
    assert set(engines) == set(world.engines)
    assert not any(engine.configured for engine in status.engines)
    assert "pip install 'echoplaned[torch]'" in engines["torch"].problem
    assert "--engine llama_cpp=PREFIX" in engines["llama_cpp"].problem
    assert list(engines["llama_cpp"].formats) == ["gguf"]
    world.engines["torch"] = find_missing(world.engines["torch"], lambda _module: True)
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    (torch,) = (engine for engine in status.engines if engine.configured)
    assert (torch.kind, torch.version, torch.problem) == ("torch", "torch 2.15.0", "")


async def test_routes_that_cannot_be_published(world: World) -> None:
    """What an adapter raised is an alarm, in Explain, and the model is DEGRADED until its routes are out."""
    await world.load("fp32")
    world.script.acknowledge = False
    await world.update("int8")
    routes = world.handle.state.models["minilm"].routes
    assert routes is not None
    key = ("publish", "minilm", routes.epoch)
    world.handle.emit(AdapterFailed(world.handle.now_s(), key, "xds", "Panic: no"))
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    (alarm,) = status.alarms
    assert "publishing the routes of minilm failed once in the xds (Panic: no)" in alarm
    assert status.models[0].health == types_pb2.HEALTH_STATE_DEGRADED
    told = await world.stubs.status.Explain(diagnostics_pb2.ExplainRequest(name="models/minilm"))
    assert told.summary.count("publishing the routes") == 1
    world.handle.acknowledge("minilm")
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    assert not status.alarms


async def test_alarms(world: World) -> None:
    """A version that was given up and a store that cannot be written are alarms."""
    world.script.start_failure = FailureDetail(Reason.ENGINE_CRASH_LOOP, "died five times")
    await world.load("fp32")
    world.store_writable = False
    status = await world.stubs.status.GetStatus(diagnostics_pb2.GetStatusRequest())
    assert not status.store_writable
    assert any("died five times" in alarm for alarm in status.alarms)
    assert any("store" in alarm for alarm in status.alarms)


async def test_daemon_health(world: World) -> None:
    """The daemon is SERVING, DEGRADED while its store fails, NOT_SERVING while it stops."""
    health = world.stubs.status.GetHealth
    assert (await health(diagnostics_pb2.GetHealthRequest())).state == types_pb2.HEALTH_STATE_SERVING
    world.store_writable = False
    degraded = await health(diagnostics_pb2.GetHealthRequest())
    assert degraded.state == types_pb2.HEALTH_STATE_DEGRADED
    assert len(degraded.reasons) == 1
    world.lifecycle.begin_stop()
    assert (await health(diagnostics_pb2.GetHealthRequest())).state == types_pb2.HEALTH_STATE_NOT_SERVING


class Counted:
    """A traffic source with one version."""

    def totals(self) -> dict[VersionKey, RequestCounts]:
        """Return fixed totals."""
        return {FP32: RequestCounts(ok=90, client_errors=3, server_errors=2, arrivals=97, in_flight=2)}


async def test_metrics(world: World) -> None:
    """GetMetrics has requests by source, bytes predicted and measured, cache and load counts by outcome."""
    world.traffic[CountedBy.WORKER] = Counted()
    await world.load("fp32")
    await world.load("fp32")
    await failed(world.load("huge"), Reason.MEMORY_INSUFFICIENT, CODE.RESOURCE_EXHAUSTED)
    world.handle.emit(MemoryMeasured(world.handle.now_s(), InstanceKey(FP32, 0), 1, 123_456))
    metrics = await world.stubs.status.GetMetrics(diagnostics_pb2.GetMetricsRequest(model="minilm"))
    version = metrics.versions[0]
    assert version.version == "models/minilm/versions/fp32"
    assert version.weight_ppm == 1_000_000
    counts = version.requests[0]
    assert counts.source == diagnostics_pb2.COUNT_SOURCE_WORKER
    assert (counts.ok_count, counts.client_error_count, counts.server_error_count) == (90, 3, 2)
    assert (counts.in_flight_count, counts.arrival_count) == (2, 97)
    assert version.predicted_bytes == 22_713_216 * 4
    assert version.measured_bytes == 123_456
    assert (metrics.cache_hit_count, metrics.cache_miss_count) == (1, 1)
    assert metrics.loads.refused_count == 1
    # Time stands still here: a load that took none is told from a cache hit by nothing else.
    assert metrics.loads.succeeded_count + metrics.loads.cached_count == 2
    shown = await world.stubs.models.GetModelVersion(
        models_pb2.GetModelVersionRequest(name="models/minilm/versions/fp32")
    )
    assert shown.memory.measured.increment_bytes == 123_456
    call = world.stubs.status.GetMetrics(diagnostics_pb2.GetMetricsRequest(model="nobody"))
    await failed(call, Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)


async def test_events_from_now_on_and_from_a_token(world: World) -> None:
    """Events come as they happen; a resume token goes on after its event; a model filters."""
    call = world.stubs.status.WatchEvents(diagnostics_pb2.WatchEventsRequest())
    await call.initial_metadata()
    await world.load("fp32")
    first = await call.read()
    assert (first.kind, first.subject) == ("model.created", "models/minilm")
    ready = await call.read()
    assert (ready.kind, ready.subject) == ("instance.ready", "models/minilm/versions/fp32")
    call.cancel()
    await world.load("fp32", "bert")
    again = world.stubs.status.WatchEvents(diagnostics_pb2.WatchEventsRequest(resume_token=first.resume_token))
    assert await again.read() == ready
    other = await again.read()
    assert other.subject == "models/bert"
    again.cancel()
    only = diagnostics_pb2.WatchEventsRequest(resume_token=first.resume_token, model="bert")
    filtered = world.stubs.status.WatchEvents(only)
    assert await filtered.read() == other
    filtered.cancel()


async def test_events_end_when_the_daemon_stops(world: World) -> None:
    """A stream of events ends with UNAVAILABLE when the daemon stops."""
    call = world.stubs.status.WatchEvents(diagnostics_pb2.WatchEventsRequest())
    await call.initial_metadata()
    world.lifecycle.begin_stop()
    with pytest.raises(grpc.aio.AioRpcError):
        await rest_of(call)
    assert await call.code() is CODE.UNAVAILABLE


@pytest.mark.parametrize("token", ["nonsense", "WyIyIiwxXQ"])
async def test_bad_resume_tokens(world: World, token: str) -> None:
    """A resume token that is not known is PAGE_TOKEN_INVALID."""
    call = world.stubs.status.WatchEvents(diagnostics_pb2.WatchEventsRequest(resume_token=token))
    await failed(call.read(), Reason.PAGE_TOKEN_INVALID, CODE.INVALID_ARGUMENT)


async def test_explain(world: World) -> None:
    """Explain tells how a model, a version, a rollout and an operation are, and the decisions with their evidence."""
    await world.load("fp32")
    started = await world.update("int8", policy=rollouts_pb2.RolloutPolicy(stages_percent=[50, 100], stage_min_s=0))
    world.handle.advance(1)
    world.handle.give_verdict("minilm", GateVerdict.FAIL, "7 of 60 failed")
    explain = world.stubs.status.Explain
    rollout = await explain(diagnostics_pb2.ExplainRequest(name=metadata(started).rollout))
    assert "7 of 60 failed" in rollout.summary
    assert rollout.decisions[0].kind == "ended"
    assert any(d.verdict.reason == "7 of 60 failed" for d in rollout.decisions)
    version = await explain(diagnostics_pb2.ExplainRequest(name="models/minilm/versions/fp32"))
    assert "1 of 1 instances answer" in version.summary
    assert any(d.kind == "placed" and d.plan.fits for d in version.decisions)
    assert any(d.kind == "instance.ready" for d in version.decisions)
    model = await explain(diagnostics_pb2.ExplainRequest(name="minilm"))
    assert "serves fp32" in model.summary
    times = [d.time.ToMicroseconds() for d in model.decisions]
    assert times == sorted(times, reverse=True)
    operation = await explain(diagnostics_pb2.ExplainRequest(name=started.name))
    assert "ROLLED_BACK" in operation.summary
    for name, reason in {
        "nobody": Reason.MODEL_NOT_FOUND,
        "models/minilm/versions/v9": Reason.VERSION_NOT_FOUND,
        "models/minilm/rollouts/r9": Reason.ROLLOUT_NOT_FOUND,
        "operations/nobody": Reason.OPERATION_NOT_FOUND,
    }.items():
        await failed(explain(diagnostics_pb2.ExplainRequest(name=name)), reason, CODE.NOT_FOUND)


async def test_usage(world: World) -> None:
    """GetUsage has what was counted, by client and version, of one of them where asked; tokens where engines count them."""
    await world.load("fp32")
    key = VersionKey("minilm", "fp32")
    world.usage = UsageReport(
        5.0,
        {
            UsageKey("alice", "minilm", "fp32"): UsageTotals(ok=2, client_errors=1, sent_bytes=7, duration_s=1.5),
            UsageKey("bob", "gone", "v1"): UsageTotals(unanswered=1),
            UsageKey(): UsageTotals(client_errors=4),
        },
    )

    async def ask(**fields: str) -> diagnostics_pb2.GetUsageResponse:
        return await world.stubs.status.GetUsage(diagnostics_pb2.GetUsageRequest(**fields))

    found = await ask()
    assert found.start_time.ToSeconds() == 5
    assert [(each.client, each.version, each.request_count) for each in found.usages] == [
        ("", "", 4),
        ("alice", "models/minilm/versions/fp32", 3),
        ("bob", "models/gone/versions/v1", 1),
    ]
    alice = found.usages[1]
    assert (alice.ok_count, alice.client_error_count, alice.sent_bytes, alice.duration.ToMilliseconds()) == (
        2,
        1,
        7,
        1500,
    )
    assert not found.tokens
    assert not found.uncounted_versions
    gone, other = VersionKey("gone", "v1"), VersionKey("minilm", "other")
    world.tokens = TokenReport({key: TokenCounts(11, 33), gone: TokenCounts(1, 0)}, frozenset({other}))
    everything, one = await ask(), await ask(model="models/minilm")
    assert [each.version for each in everything.tokens] == ["models/gone/versions/v1", "models/minilm/versions/fp32"]
    (tokens,) = one.tokens
    assert (tokens.version, tokens.prompt_count, tokens.generated_count) == ("models/minilm/versions/fp32", 11, 33)
    for found in (everything, one):
        assert list(found.uncounted_versions) == ["models/minilm/versions/other"]
    assert not (await ask(model="gone")).uncounted_versions
    assert [each.client for each in (await ask(client="bob")).usages] == ["bob"]
    assert [each.client for each in (await ask(model="gone")).usages] == ["bob"], (
        "also of a model that is not there any more"
    )


async def test_latencies_are_shown_by_version(world: World) -> None:
    """GetMetrics has the histograms that engines count, Explain says in words what half and nearly all took; without any, neither does."""
    await world.load("fp32")
    asked = diagnostics_pb2.GetMetricsRequest(model="minilm")
    name = diagnostics_pb2.ExplainRequest(name="models/minilm/versions/fp32")
    (before,) = (await world.stubs.status.GetMetrics(asked)).versions
    assert not before.latencies
    assert "first token" not in (await world.stubs.status.Explain(name)).summary
    world.latencies[VersionKey("minilm", "fp32")] = (Histogram(Measure.FIRST_TOKEN, (0.1, 1.0), (90, 9, 1), 20.5),)
    (after,) = (await world.stubs.status.GetMetrics(asked)).versions
    (shown,) = after.latencies
    assert shown.measure == diagnostics_pb2.LATENCY_MEASURE_FIRST_TOKEN
    assert (list(shown.upper_bounds_s), list(shown.counts), shown.sum_s) == ([0.1, 1.0], [90, 9, 1], 20.5)
    said = (await world.stubs.status.Explain(name)).summary
    assert "time to the first token: half took at most 0.1 s, 99 % at most 1 s (100 counted)" in said


async def test_explain_shows_what_subscribers_refused(world: World) -> None:
    """Explain names who refused what of the routes, why, how often and whether it counts; for a rollout what fell into it."""
    await world.load("fp32")

    def refuse(model: str, resource: str, *, counted: bool) -> None:
        now_s = world.handle.now_s()
        of, models = (f"models/{model}/versions/{resource}",), frozenset({model})
        world.refusals.record(RecordedRefusal("client-1", "type/x", of, models, "bad endpoint", counted, now_s, now_s))

    refuse("minilm", "fp32", counted=False)
    refuse("other", "fp32", counted=True)
    world.handle.advance(60)
    refuse("minilm", "fp32", counted=False)
    world.handle.advance(60)
    started = await world.update("int8", policy=rollouts_pb2.RolloutPolicy(stages_percent=[50, 100], stage_min_s=0))
    world.handle.advance(1)
    refuse("minilm", "int8", counted=True)
    explain = world.stubs.status.Explain
    model = await explain(diagnostics_pb2.ExplainRequest(name="minilm"))
    newest, before = model.refusals
    assert (newest.node, newest.type_url, newest.message) == ("client-1", "type/x", "bad endpoint")
    assert (list(newest.resources), newest.counted, newest.count) == (["models/minilm/versions/int8"], True, 1)
    assert (before.counted, before.count, before.time.seconds - before.first_time.seconds) == (False, 2, 60)
    version = await explain(diagnostics_pb2.ExplainRequest(name="models/minilm/versions/fp32"))
    assert list(version.refusals) == [before]
    for name in (metadata(started).rollout, started.name):
        assert list((await explain(diagnostics_pb2.ExplainRequest(name=name))).refusals) == [newest]


async def test_model_health(world: World) -> None:
    """A model's health is that of the versions with traffic; a lost instance degrades it."""
    world.script.start = False
    await world.load("fp32", replicas=2)
    get = models_pb2.GetModelHealthRequest(name="minilm")
    loading = await world.stubs.models.GetModelHealth(get)
    assert loading.state == types_pb2.HEALTH_STATE_UNSPECIFIED
    world.script.start = True
    await world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm"))
    await world.load("fp32", replicas=2)
    whole = await world.stubs.models.GetModelHealth(get)
    assert (whole.state, whole.reason) == (types_pb2.HEALTH_STATE_SERVING, "")
    assert [(p.ordinal, p.passed) for p in whole.versions[0].probes] == [(0, True), (1, True)]
    world.script.start = False
    world.handle.emit(EngineLost(world.handle.now_s(), InstanceKey(FP32, 0), 1, "killed"))
    half = await world.stubs.models.GetModelHealth(get)
    assert half.state == types_pb2.HEALTH_STATE_DEGRADED
    assert "1 of 2" in half.reason
    assert (half.versions[0].wanted_instance_count, half.versions[0].ready_instance_count) == (2, 1)


async def test_check_probes_now(world: World) -> None:
    """CheckModelHealth makes a real inference on every ready instance; GetModelHealth shows its result and makes none."""
    await world.load("fp32", replicas=2)
    check = models_pb2.CheckModelHealthRequest(name="minilm")
    found = await world.stubs.models.CheckModelHealth(check)
    assert sorted(world.prober.asked) == [(FP32, "127.0.0.1:9000"), (FP32, "127.0.0.1:9001")]
    assert all(p.passed and p.duration.nanos for p in found.versions[0].probes)
    shown = await world.stubs.models.GetModelHealth(models_pb2.GetModelHealthRequest(name="minilm"))
    assert shown.versions[0].probes == found.versions[0].probes
    assert len(world.prober.asked) == 2
    missing = models_pb2.CheckModelHealthRequest(name="nobody")
    await failed(world.stubs.models.CheckModelHealth(missing), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)
