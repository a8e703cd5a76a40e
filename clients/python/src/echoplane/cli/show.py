"""Models, versions and health as text."""

from __future__ import annotations

from collections.abc import Iterable

from echoplane.cli.plan_text import calibration_text
from echoplane.cli.telling import duration_text, enum_word
from echoplane.cli.text import dtype, pairs, percent, size, table
from echoplane.names import short
from echoplane.v1 import models_pb2 as models
from echoplane.v1 import types_pb2


def health_word(state: types_pb2.HealthState) -> str:
    """Return a health state's word."""
    return enum_word(types_pb2.HealthState, state) or "unknown"


def state_word(state: models.VersionState) -> str:
    """Return a version state's word."""
    return enum_word(models.VersionState, state) or "unknown"


def models_table(found: Iterable[models.Model]) -> str:
    """Return models, one a line; with their aliases where one has any."""
    models_shown = list(found)
    aliased = any(model.aliases for model in models_shown)
    rows = [
        (
            short(model.name),
            short(model.serving_version),
            health_word(model.health),
            traffic(model),
            short(model.rollout),
            *((", ".join(model.aliases),) if aliased else ()),
        )
        for model in models_shown
    ]
    return table(("model", "serving", "health", "traffic", "rollout", *(("aliases",) if aliased else ())), rows)


def traffic(model: models.Model) -> str:
    """Return a model's weights on one line."""
    return ", ".join(f"{short(entry.version)} {percent(entry.weight_ppm)}" for entry in model.traffic)


def versions_table(found: Iterable[models.ModelVersion]) -> str:
    """Return versions, one a line."""
    rows = [
        (
            short(version.name),
            state_word(version.state),
            dtype(version.dtype),
            percent(version.weight_ppm),
            f"{sum(entry.state == models.INSTANCE_STATE_READY for entry in version.instances)}/{version.replicas}",
            size(version.memory.predicted_bytes),
            size(version.memory.measured.increment_bytes) if version.memory.HasField("measured") else "",
        )
        for version in found
    ]
    return table(("version", "state", "dtype", "weight", "ready", "predicted", "measured"), rows)


def model_text(model: models.Model) -> str:
    """Return one model."""
    return pairs(
        [
            ("name", model.name),
            ("serving", model.serving_version),
            ("health", health_word(model.health)),
            ("traffic", traffic(model)),
            ("rollout", model.rollout),
            ("aliases", ", ".join(model.aliases)),
            ("xds", model.xds_target),
            ("inputs", tensors(model.signature.inputs)),
            ("outputs", tensors(model.signature.outputs)),
            ("labels", ", ".join(f"{key}={value}" for key, value in sorted(model.labels.items()))),
            ("etag", model.etag),
        ]
    )


def tensors(specs: Iterable[types_pb2.TensorSpec]) -> str:
    """Return tensors on one line: ``text BYTES[-1]``."""
    return ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in specs)


def _context(version: models.ModelVersion) -> str:
    chosen = "" if version.requested_context_length else ", chosen: nobody asked for a number"
    return f"{version.context_length} tokens{chosen}" if version.context_length else ""


def version_text(version: models.ModelVersion) -> str:
    """Return one version with its instances."""
    memory = version.memory
    lines = pairs(
        [
            ("name", version.name),
            ("state", state_word(version.state)),
            ("weight", percent(version.weight_ppm)),
            ("source", version.source.uri),
            ("digest", version.source.digest),
            ("engine", f"{version.engine.kind} {version.engine.version}".strip()),
            ("architecture", version.facts.architecture),
            ("parameters", f"{version.facts.parameter_count:,}" if version.facts.parameter_count else ""),
            ("dtype", dtype(version.dtype)),
            ("context", _context(version)),
            ("at once", str(version.max_concurrency or "")),
            ("predicted", f"{size(memory.predicted_bytes)}, at most {size(memory.upper_bytes)}"),
            ("measured", size(memory.measured.increment_bytes) if memory.HasField("measured") else ""),
            ("calibrated", calibration_text(memory.calibration) if memory.HasField("calibration") else ""),
            ("loaded in", duration_text(version.load_duration) if version.HasField("load_duration") else ""),
            ("cache", f"{version.cache.hit_count} hits, {version.cache.miss_count} misses"),
            ("xds", version.xds_target),
            ("failure", version.failure.message),
        ]
    )
    if not version.instances:
        return lines
    rows = [
        (
            str(entry.ordinal),
            enum_word(models.InstanceState, entry.state),
            entry.device,
            entry.address,
            str(entry.pid or ""),
            entry.failure,
        )
        for entry in version.instances
    ]
    return f"{lines}\n\n{table(('instance', 'state', 'device', 'address', 'pid', 'failure'), rows)}"


def health_text(health: models.ModelHealth) -> str:
    """Return a model's health with each version's."""
    head = pairs([("model", health.name), ("health", health_word(health.state)), ("why", health.reason)])
    rows = []
    for version in health.versions:
        failures = "; ".join(probe.failure for probe in version.probes if probe.failure)
        passed = sum(probe.passed for probe in version.probes)
        ready = f"{version.ready_instance_count}/{version.wanted_instance_count}"
        rows.append(
            (short(version.version), health_word(version.state), ready, f"{passed}/{len(version.probes)}", failures)
        )
    return f"{head}\n\n{table(('version', 'health', 'ready', 'probes', 'failures'), rows)}" if rows else head
