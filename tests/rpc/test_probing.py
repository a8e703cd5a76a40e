"""Health as callers are told it: the state and the last probe of each instance never disagree."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2

from echoplane.v1 import models_pb2, types_pb2
from echoplaned.core.engine_events import EngineStuck
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.ports.probing import LastProbe, ProbeOutcome

from .world import World

KEY = InstanceKey(VersionKey("minilm", "fp32"), 0)
CHECK = models_pb2.CheckModelHealthRequest(name="minilm")
GET = models_pb2.GetModelHealthRequest(name="minilm")
SERVING = types_pb2.HEALTH_STATE_SERVING
NOT_SERVING = types_pb2.HEALTH_STATE_NOT_SERVING


def probes(health: models_pb2.ModelHealth) -> list[tuple[bool, str]]:
    """Return what is said of each probe of the one version."""
    return [(probe.passed, probe.failure) for probe in health.versions[0].probes]


async def test_a_failed_probe_takes_the_instance_out(world: World) -> None:
    """Asked for by a caller and failed twice: the very answer says NOT_SERVING, and so does every later one, health's included."""
    await world.load("fp32")
    world.script.stop = False
    world.prober.outcome = ProbeOutcome(ok=False, detail="NaN", duration_s=0.1)
    found = await world.stubs.models.CheckModelHealth(CHECK)
    assert (found.state, probes(found)) == (NOT_SERVING, [(False, "NaN")])
    assert len(world.prober.asked) == 2, "a failed probe is made again"
    later = await world.stubs.models.GetModelHealth(GET)
    assert (later.state, probes(later)) == (NOT_SERVING, [(False, "NaN")])
    for name in ("models/minilm", "models/minilm/versions/fp32"):
        status = (await world.stubs.health.Check(health_pb2.HealthCheckRequest(service=name))).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_callers_share_a_probe(world: World) -> None:
    """However many ask at once, an engine has one probe at a time, and one of them who leaves takes nothing from the others."""
    await world.load("fp32")
    world.prober.may_end.clear()
    calls = [world.stubs.models.CheckModelHealth(CHECK) for _ in range(40)]
    while not world.prober.asked:
        await asyncio.sleep(0.01)
    calls[0].cancel()
    await asyncio.sleep(0.2)
    world.prober.may_end.set()
    found = await asyncio.gather(*calls[1:])
    assert [probes(each) for each in found] == [[(True, "")]] * 39
    assert len(world.prober.asked) == 1
    await world.stubs.models.CheckModelHealth(CHECK)
    assert len(world.prober.asked) == 2, "who calls later has a probe of their own"


async def test_a_probe_without_a_verdict_changes_nothing(world: World) -> None:
    """A full queue says nothing of an engine: it serves, and its last probe is the one before."""
    await world.load("fp32")
    await world.stubs.models.CheckModelHealth(CHECK)
    world.prober.outcome = ProbeOutcome(ok=False, detail="queue full", no_verdict=True)
    found = await world.stubs.models.CheckModelHealth(CHECK)
    assert (found.state, probes(found)) == (SERVING, [(True, "")])


async def test_a_stuck_instance_shows_no_passed_probe(world: World) -> None:
    """What its probes said before is not shown beside NOT_SERVING."""
    await world.load("fp32")
    world.script.stop = False
    world.handle.emit(EngineStuck(world.handle.now_s(), KEY, 1, "no step for 9 s"))
    found = await world.stubs.models.GetModelHealth(GET)
    assert found.state == NOT_SERVING
    ((passed, failure),) = probes(found)
    assert not passed
    assert "no step for 9 s" in failure


async def test_the_daemons_own_probes_are_shown(world: World) -> None:
    """Of the probe that a caller asked for and the daemon's own the later one counts."""
    await world.load("fp32")
    await world.stubs.models.CheckModelHealth(CHECK)
    late_s = world.handle.now_s() + 7
    world.last_probes[KEY, 1] = LastProbe(ProbeOutcome(ok=True, duration_s=0.25), late_s)
    found = await world.stubs.models.GetModelHealth(GET)
    (probe,) = found.versions[0].probes
    assert (probe.time.seconds, probe.duration.nanos) == (int(late_s), 250_000_000)


async def test_a_version_has_a_health_service(world: World) -> None:
    """``models/M/versions/V`` is checked, listed and watched as a model is; an unknown one is NOT_FOUND."""
    await world.load("fp32")
    name = "models/minilm/versions/fp32"
    status = (await world.stubs.health.Check(health_pb2.HealthCheckRequest(service=name))).status
    assert status == health_pb2.HealthCheckResponse.SERVING
    listed = (await world.stubs.health.List(health_pb2.HealthListRequest())).statuses
    assert listed[name].status == health_pb2.HealthCheckResponse.SERVING
    call = world.stubs.health.Watch(health_pb2.HealthCheckRequest(service=name))
    assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
    world.script.stop = False
    world.handle.emit(EngineStuck(world.handle.now_s(), KEY, 1, "no step for 9 s"))
    assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    call.cancel()
    for wrong in ("models/minilm/versions/v9", "models/nobody/versions/fp32", "models/minilm/versions/"):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await world.stubs.health.Check(health_pb2.HealthCheckRequest(service=wrong))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
