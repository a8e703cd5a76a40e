"""Health of a model: what the state knows, and real inferences made now."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from echoplane.v1 import models_pb2
from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import ProbesFailed
from echoplaned.core.ids import InstanceKey
from echoplaned.core.names import key_name, model_name
from echoplaned.core.queries import find_instance
from echoplaned.core.state import Instance, InstanceState, Model, Version
from echoplaned.ports.emit import Emit
from echoplaned.ports.handle import Handle
from echoplaned.ports.own_tasks import OwnTasks, outcome_of
from echoplaned.ports.probing import LastProbe, LastProbeOf, ProbeOutcome, Prober
from echoplaned.rpc.convert.common import duration, timestamp
from echoplaned.rpc.health_view import model_health, ready_count, version_health, why_not

PROBE_TIMEOUT_S = 10.0
_TAKEN_IN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Known:
    """The last probe of one process that a caller asked for."""

    generation: int
    probe: LastProbe


class HealthChecker:
    """Makes probes when asked, and remembers the last one of each instance."""

    def __init__(self, handle: Handle, prober: Prober, emit: Emit, last_probe: LastProbeOf) -> None:
        self._handle = handle
        self._prober = prober
        self._emit = emit
        self._last_probe = last_probe
        self._known: dict[InstanceKey, _Known] = {}
        self._running: dict[tuple[InstanceKey, int], asyncio.Task[None]] = {}
        self._own = OwnTasks()
        self._index = 0

    async def probe(self, model: Model) -> None:
        """Probe every READY instance of a model at once.

        Who calls while an instance is probed gets the outcome of that probe: however many call, an engine has one of them at a time.

        It takes 10 s at most; where a probe fails, up to as much again, and 2 s until the loop has taken that in.

        A probe that fails is made again at once: one may have failed for what a caller sent beside it. One that fails twice takes
        the instance out, so that this answer, the state and every other one agree. One without a verdict (a full queue, or no
        answer in time of an engine whose model computes) changes nothing, and is not kept.
        """
        ready = [
            (version, instance)
            for version in model.versions.values()
            for instance in version.instances
            if _is_ready(instance)
        ]
        await asyncio.gather(*(outcome_of(self._begin(version, instance)) for version, instance in ready))
        self._drop_stale()

    def health(self, model: Model) -> models_pb2.ModelHealth:
        """Return a model's health with the last probe of each instance; probes nothing."""
        return models_pb2.ModelHealth(
            name=model_name(model.model_id),
            state=model_health(model),
            reason=why_not(model),
            versions=[self._version(v) for _, v in sorted(model.versions.items()) if v.instances],
            check_time=timestamp(self._handle.now_s()),
        )

    def _begin(self, version: Version, instance: Instance) -> asyncio.Task[None]:
        """Return an instance's probe that is under way; begin one where there is none."""
        key = (instance.key, instance.generation)
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = self._own.begin(self._probe_one(version, instance))
            running.add_done_callback(lambda _: self._running.pop(key))
        return running

    async def _probe_one(self, version: Version, instance: Instance) -> None:
        outcome = await self._ask(version, instance)
        if not outcome.ok and not outcome.no_verdict:
            outcome = await self._ask(version, instance)
        if not outcome.ok and not outcome.no_verdict:
            await self._take_out(instance, outcome.detail)
        if outcome.no_verdict and self._is_ready(instance):
            return
        self._known[instance.key] = _Known(instance.generation, LastProbe(outcome, self._handle.now_s()))

    async def _ask(self, version: Version, instance: Instance) -> ProbeOutcome:
        self._index += 1
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                target = oip_target(instance.endpoints)
                return await self._prober.probe_once(version.key, version.facts, target, self._index)
        except TimeoutError:
            text = f"no answer within {PROBE_TIMEOUT_S:g} s"
            return ProbeOutcome(ok=False, detail=text, duration_s=PROBE_TIMEOUT_S, no_verdict=True)

    async def _take_out(self, instance: Instance, detail: str) -> None:
        """Tell the loop of a failed probe, and wait until the instance is taken out."""
        self._emit(ProbesFailed(self._handle.now_s(), instance.key, instance.generation, detail))
        with contextlib.suppress(TimeoutError):  # the loop is busy; it takes it in all the same
            await self._handle.wait_until(lambda _: not self._is_ready(instance), _TAKEN_IN_S)

    def _is_ready(self, instance: Instance) -> bool:
        """Say whether the same process of an instance is READY still."""
        found = find_instance(self._handle.state, instance.key)
        return found is not None and found[2].generation == instance.generation and _is_ready(found[2])

    def _version(self, version: Version) -> models_pb2.VersionHealth:
        probes = (self._probe_of(instance) for instance in version.instances)
        return models_pb2.VersionHealth(
            version=key_name(version.key),
            state=version_health(version),
            wanted_instance_count=version.spec.shape.replicas,
            ready_instance_count=ready_count(version),
            probes=[probe for probe in probes if probe is not None],
        )

    def _probe_of(self, instance: Instance) -> models_pb2.ProbeResult | None:
        """Return the last probe of an instance that said anything; None: there was none.

        Of one that was taken out, why, whatever its probes said before.
        """
        ordinal = instance.key.ordinal
        last = self._last(instance)
        if instance.failure is not None and not _is_ready(instance):
            if last is not None and not last.outcome.ok:
                return _result(ordinal, last)
            return models_pb2.ProbeResult(ordinal=ordinal, passed=False, failure=instance.failure.message)
        if last is not None:
            return _result(ordinal, last)
        if instance.ready_since_s is None:
            return None
        # It became READY by passing its probes; how long they took was not kept.
        return models_pb2.ProbeResult(ordinal=ordinal, passed=True, time=timestamp(instance.ready_since_s))

    def _last(self, instance: Instance) -> LastProbe | None:
        known = self._known.get(instance.key)
        asked = known.probe if known is not None and known.generation == instance.generation else None
        own = self._last_probe(instance.key, instance.generation)
        return max(filter(None, (asked, own)), key=lambda each: each.time_s, default=None)

    def _drop_stale(self) -> None:
        alive = {
            instance.key
            for model in self._handle.state.models.values()
            for version in model.versions.values()
            for instance in version.instances
        }
        self._known = {key: known for key, known in self._known.items() if key in alive}


def _is_ready(instance: Instance) -> bool:
    return instance.state is InstanceState.READY


def _result(ordinal: int, last: LastProbe) -> models_pb2.ProbeResult:
    return models_pb2.ProbeResult(
        ordinal=ordinal,
        passed=last.outcome.ok,
        failure=last.outcome.detail,
        duration=duration(last.outcome.duration_s),
        time=timestamp(last.time_s),
    )
