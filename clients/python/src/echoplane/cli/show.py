"""Models, versions, plans and health as text."""

from __future__ import annotations

from collections.abc import Iterable

from echoplane.cli.escaping import escape
from echoplane.cli.text import dtype, pairs, percent, size, table, word
from echoplane.names import short
from echoplane.v1 import models_pb2 as models
from echoplane.v1 import plans_pb2, types_pb2


def health_word(state: types_pb2.HealthState) -> str:
    """Return a health state's word."""
    return word(types_pb2.HealthState.Name(state), "HEALTH_STATE") or "unknown"


def state_word(state: models.VersionState) -> str:
    """Return a version state's word."""
    return word(models.VersionState.Name(state), "VERSION_STATE") or "unknown"


def models_table(found: Iterable[models.Model]) -> str:
    """Return models, one a line."""
    rows = [
        (
            short(model.name),
            short(model.serving_version),
            health_word(model.health),
            traffic(model),
            short(model.rollout),
        )
        for model in found
    ]
    return table(("model", "serving", "health", "traffic", "rollout"), rows)


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
            ("calibrated", _calibration(memory.calibration) if memory.HasField("calibration") else ""),
            (
                "loaded in",
                f"{version.load_duration.ToTimedelta().total_seconds():.2f} s"
                if version.HasField("load_duration")
                else "",
            ),
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
            word(models.InstanceState.Name(entry.state), "INSTANCE_STATE"),
            entry.device,
            entry.address,
            str(entry.pid or ""),
            entry.failure,
        )
        for entry in version.instances
    ]
    return f"{lines}\n\n{table(('instance', 'state', 'device', 'address', 'pid', 'failure'), rows)}"


def plans_table(found: Iterable[tuple[str, plans_pb2.Plan]]) -> str:
    """Return plans, one a line."""
    rows = [
        (
            source,
            plan.architecture,
            f"{plan.parameter_count:,}",
            plan.weight_format or dtype(plan.dtype),
            size(plan.bytes),
            size(plan.upper_bytes),
            f"{plan.kv_bytes_per_token:,}",
            "yes" if plan.fits else "no",
            "yes" if is_served(plan) else "no",
        )
        for source, plan in found
    ]
    headers = (
        "source",
        "architecture",
        "parameters",
        "weights",
        "memory",
        "at most",
        "cache bytes a token",
        "fits",
        "serves",
    )
    return table(headers, rows)


def is_served(plan: plans_pb2.Plan) -> bool:
    """Return whether the engine would load what was planned; a daemon that says nothing of it plans only what it loads."""
    return plan.serves or not plan.serves_reason


def plan_text(plan: plans_pb2.Plan, *, explain: bool = False) -> str:
    """Return a plan with every component; with ``explain`` their numbers and sources, and every rank."""
    head = pairs(
        [
            ("fits", "yes" if plan.fits else "no"),
            ("serves", "yes" if is_served(plan) else f"no: {plan.serves_reason}: {plan.serves_detail}"),
            ("architecture", plan.architecture),
            ("parameters", f"{plan.parameter_count:,}"),
            ("dtype", dtype(plan.dtype)),
            ("weights", plan.weight_format),
            ("context", f"{plan.context_length} tokens"),
            ("at once", str(plan.max_concurrency)),
            ("instances", f"{plan.replicas}{', beside the serving version' if plan.surge else ''}"),
            ("memory", f"{size(plan.bytes)} ({plan.bytes:,} bytes) an instance, at most {size(plan.upper_bytes)}"),
            ("cache", f"{plan.kv_bytes_per_token:,} bytes a token" if plan.kv_bytes_per_token else ""),
            ("would fit", _fitting(plan)),
            ("calibrated", _calibration(plan.calibration) if plan.HasField("calibration") else ""),
            ("computes with", plan.cpu_isa),
            ("placed on", ", ".join(plan.device_ids)),
        ]
    )
    parts = [head, _components(plan, explain=explain)]
    if explain and len(plan.ranks) > 1:
        ranks = [(str(at), f"{rank.bytes:,}", f"{rank.upper_bytes:,}") for at, rank in enumerate(plan.ranks)]
        parts.append(table(("rank", "bytes", "at most"), ranks))
    if plan.devices:
        rows = [
            (fit.device_id, size(fit.free_bytes), size(fit.needed_bytes), "yes" if fit.fits else "no")
            for fit in plan.devices
        ]
        parts.append(table(("device", "free", "needed", "fits"), rows))
    if plan.alternatives:
        parts.append(_alternatives(plan))
    parts += [escape(f"warning: {warning}") for warning in plan.warnings]
    return "\n\n".join(part for part in parts if part)


def _calibration(used: plans_pb2.Calibration) -> str:
    """Say which of the engine's constants a plan used, and where they come from."""
    constants = f"{size(used.overhead_bytes)} a process, {used.heap_slack:.2f} of temporaries kept"
    if not used.sample_count:
        return f"no: nothing was measured yet; believed are {constants}"
    return f"by {used.sample_count} processes of {used.engine} ({used.engine_version}) on {used.device}: {constants}"


def _fitting(plan: plans_pb2.Plan) -> str:
    if not (plan.fitting_context_length or plan.fitting_max_concurrency):
        return ""
    context, sequences = plan.fitting_context_length, plan.fitting_max_concurrency
    return f"at most {context} tokens at this concurrency, at most {sequences} at once at this context"


def _components(plan: plans_pb2.Plan, *, explain: bool) -> str:
    rows = []
    for part in plan.components:
        row = [part.name, f"{part.bytes:,}", f"{part.upper_bytes:,}" if part.upper_bytes else "", part.formula]
        if explain:
            row += [", ".join(f"{value.name}={value.value}" for value in part.inputs), part.source]
        rows.append(row)
    headers = ["component", "bytes", "at most", "formula", *(("inputs", "source") if explain else ())]
    return table(headers, rows) if rows else ""


def _alternatives(plan: plans_pb2.Plan) -> str:
    rows = [
        (
            other.action.replace("_", " "),
            dtype(other.dtype),
            str(other.context_length),
            str(other.max_concurrency),
            size(other.upper_bytes),
            size(other.freed_bytes),
            f"{other.undo_seconds:.0f} s" if other.undo_seconds else "",
            other.device_id,
            other.warning,
        )
        for other in plan.alternatives
    ]
    headers = ("would fit", "dtype", "context", "at once", "at most", "frees", "to undo", "device", "but")
    return table(headers, rows)


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
