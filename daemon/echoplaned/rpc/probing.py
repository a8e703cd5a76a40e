"""Health of a model: what the state knows, and real inferences made now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from echoplane.v1 import models_pb2
from echoplaned.core.endpoints import oip_target
from echoplaned.core.ids import InstanceKey
from echoplaned.core.state import Instance, InstanceState, Model, Version
from echoplaned.ports.handle import Handle
from echoplaned.ports.probing import ProbeOutcome, Prober
from echoplaned.rpc.convert.common import duration, key_name, model_name, timestamp
from echoplaned.rpc.health_view import model_health, ready_count, version_health, why_not

PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class _Known:
    """The last probe of one process."""

    generation: int
    outcome: ProbeOutcome
    time_s: float


class HealthBook:
    """Makes probes when asked, and remembers the last one of each instance."""

    def __init__(self, handle: Handle, prober: Prober) -> None:
        self._handle = handle
        self._prober = prober
        self._known: dict[InstanceKey, _Known] = {}
        self._index = 0

    async def probe(self, model: Model) -> None:
        """Probe every READY instance of a model at once; takes 10 s at most."""
        ready = [
            (version, instance)
            for version in model.versions.values()
            for instance in version.instances
            if instance.state is InstanceState.READY
        ]
        await asyncio.gather(*(self._probe_one(version, instance) for version, instance in ready))
        self._forget()

    def health(self, model: Model) -> models_pb2.ModelHealth:
        """Return a model's health with the last probe of each instance; probes nothing."""
        return models_pb2.ModelHealth(
            name=model_name(model.model_id),
            state=model_health(model),
            reason=why_not(model),
            versions=[self._version(v) for _, v in sorted(model.versions.items()) if v.instances],
            check_time=timestamp(self._handle.now_s()),
        )

    async def _probe_one(self, version: Version, instance: Instance) -> None:
        self._index += 1
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                target = oip_target(instance.endpoints)
                outcome = await self._prober.probe_once(version.key, version.facts, target, self._index)
        except TimeoutError:
            text = f"no answer within {PROBE_TIMEOUT_S:g} s"
            outcome = ProbeOutcome(ok=False, detail=text, duration_s=PROBE_TIMEOUT_S)
        self._known[instance.key] = _Known(instance.generation, outcome, self._handle.now_s())

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
        known = self._known.get(instance.key)
        if known is not None and known.generation == instance.generation:
            return models_pb2.ProbeResult(
                ordinal=instance.key.ordinal,
                passed=known.outcome.ok,
                failure=known.outcome.detail,
                duration=duration(known.outcome.duration_s),
                time=timestamp(known.time_s),
            )
        if instance.ready_since_s is None:
            return None
        # It became READY by passing its probes; how long they took was not kept.
        return models_pb2.ProbeResult(ordinal=instance.key.ordinal, passed=True, time=timestamp(instance.ready_since_s))

    def _forget(self) -> None:
        alive = {
            instance.key
            for model in self._handle.state.models.values()
            for version in model.versions.values()
            for instance in version.instances
        }
        self._known = {key: known for key, known in self._known.items() if key in alive}
