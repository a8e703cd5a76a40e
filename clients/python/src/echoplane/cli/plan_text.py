"""Plans as text: the answer first, then what it is made of.

The answer is weights, cache, total and verdict; what would fit instead comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from echoplane.cli.escaping import escape
from echoplane.cli.text import dtype, gibibytes, pairs, size, table
from echoplane.v1 import plans_pb2

_LONGEST_FORMULA: Final = 90
"""Longer ones are for `--explain`: they would push the figures off the screen."""


def is_served(plan: plans_pb2.Plan) -> bool:
    """Return whether the engine would load what was planned.

    A daemon that says nothing of it plans only what it loads.
    """
    return plan.serves or not plan.serves_reason


def plans_table(found: Iterable[tuple[str, plans_pb2.Plan]]) -> str:
    """Return plans, one a line."""
    rows = [
        (
            source,
            gibibytes(_bytes_of(plan, "weights")),
            f"{plan.kv_bytes_per_token:,}",
            gibibytes(plan.bytes) + _times(plan),
            gibibytes(plan.upper_bytes),
            "yes" if plan.fits else "no",
            "yes" if is_served(plan) else "no",
            plan.architecture,
            f"{plan.parameter_count:,}",
            plan.weight_format or dtype(plan.dtype),
        )
        for source, plan in found
    ]
    headers = (
        "source",
        "weights",
        "cache bytes a token",
        "total",
        "at most",
        "fits",
        "serves",
        "architecture",
        "parameters",
        "format",
    )
    return table(headers, rows)


def plan_text(plan: plans_pb2.Plan, *, explain: bool = False) -> str:
    """Return a plan with every component.

    With ``explain`` also their numbers and sources, and every rank.
    """
    parts = [pairs(_answer(plan)), pairs(_particulars(plan)), _components(plan, explain=explain)]
    if explain and len(plan.ranks) > 1:
        ranks = [(str(at), f"{rank.bytes:,}", f"{rank.upper_bytes:,}") for at, rank in enumerate(plan.ranks)]
        parts.append(table(("rank", "bytes", "at most"), ranks))
    if plan.devices:
        parts.append(table(("device", "free", "needed", "fits"), _device_rows(plan.devices)))
    if plan.alternatives:
        parts.append(_alternatives(plan))
    parts += [escape(f"warning: {warning}") for warning in plan.warnings]
    return "\n\n".join(part for part in parts if part)


def _device_rows(devices: Iterable[plans_pb2.DeviceFit]) -> list[tuple[str, ...]]:
    """Return a row a device; neighbours that stand alike share one."""
    alike = groupby(devices, lambda fit: (gibibytes(fit.free_bytes), gibibytes(fit.needed_bytes), fit.fits))
    rows: list[tuple[str, ...]] = []
    for (free, needed, fits), found in alike:
        names = [fit.device_id for fit in found]
        name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        rows.append((name, free, needed, "yes" if fits else "no"))
    return rows


def _answer(plan: plans_pb2.Plan) -> list[tuple[str, str]]:
    """Return what people look for first."""
    weights, times = _bytes_of(plan, "weights"), _times(plan)
    many = "sequence" if plan.max_concurrency == 1 else "sequences"
    workload = f"{plan.max_concurrency} {many} of {plan.context_length:,} tokens"
    return [
        ("weights", f"{gibibytes(weights)}{times} ({weights:,} bytes), {plan.weight_format or dtype(plan.dtype)}"),
        ("cache", _cache(plan)),
        ("total", f"{gibibytes(plan.bytes)}{times}, at most {gibibytes(plan.upper_bytes)}, for {workload}"),
        ("verdict", _verdict(plan)),
        ("serves", "yes" if is_served(plan) else f"no: {plan.serves_reason}: {plan.serves_detail}"),
    ]


def _cache(plan: plans_pb2.Plan) -> str:
    """Return what a token adds, and what a sequence has whatever its length."""
    parts = [f"{plan.kv_bytes_per_token:,} bytes a token"] if plan.kv_bytes_per_token else []
    states = _bytes_of(plan, "state_cache")
    if states:
        parts.append(f"{size(states // max(plan.max_concurrency, 1))} of states a sequence")
    return " and ".join(parts) or "none: nothing is kept between calls"


def _verdict(plan: plans_pb2.Plan) -> str:
    """Return whether it fits, where, and how much room is missing or left."""
    if plan.fits:
        where = ", ".join(dict.fromkeys(plan.device_ids))
        many = f"{plan.replicas} instances fit" if plan.replicas > 1 else "fits"
        return f"{many} on {where}" if where else many
    needed = max((fit.needed_bytes for fit in plan.devices), default=plan.upper_bytes)
    free = max((fit.free_bytes for fit in plan.devices), default=0)
    each = "one rank" if len(plan.ranks) > 1 else "one instance"
    text = f"does not fit: {gibibytes(needed)} for {each}, {gibibytes(free)} free on the freest device"
    if needed <= free:
        text = f"does not fit: {plan.replicas * max(len(plan.ranks), 1)} places of {gibibytes(needed)} are not there"
    return f"{text}{_fitting(plan)}"


def _fitting(plan: plans_pb2.Plan) -> str:
    """Return what one device would hold where the plan asks for more."""
    context, sequences = plan.fitting_context_length, plan.fitting_max_concurrency
    parts = []
    if context:
        parts.append(f"{context:,} tokens with {plan.max_concurrency} at once")
    if sequences:
        parts.append(f"{sequences} at once with {plan.context_length:,} tokens")
    return f"; what would: {', or '.join(parts)}" if parts else ""


def _particulars(plan: plans_pb2.Plan) -> list[tuple[str, str]]:
    return [
        ("architecture", plan.architecture),
        ("parameters", f"{plan.parameter_count:,}"),
        ("dtype", dtype(plan.dtype)),
        ("instances", f"{plan.replicas}{', beside the serving version' if plan.surge else ''}"),
        ("room for", _room(plan)),
        ("calibrated", calibration_text(plan.calibration) if plan.HasField("calibration") else ""),
        ("computes with", plan.cpu_isa),
        ("placed on", ", ".join(plan.device_ids)),
    ]


def _room(plan: plans_pb2.Plan) -> str:
    """Return what the freest device would hold of a plan that fits."""
    if not plan.fits or not (plan.fitting_context_length and plan.fitting_max_concurrency):
        return ""
    return (
        f"{plan.fitting_context_length:,} tokens at this concurrency, or {plan.fitting_max_concurrency} at once "
        "at this context"
    )


def calibration_text(used: plans_pb2.Calibration) -> str:
    """Say which of the engine's constants a plan used, and where they come from."""
    constants = f"{size(used.overhead_bytes)} a process, {used.heap_slack:.2f} of temporaries kept"
    if not used.sample_count:
        return f"no: nothing was measured yet; believed are {constants}"
    return f"by {used.sample_count} processes of {used.engine} ({used.engine_version}) on {used.device}: {constants}"


def _components(plan: plans_pb2.Plan, *, explain: bool) -> str:
    rows = []
    for part in plan.components:
        formula = part.formula
        if not explain and len(formula) > _LONGEST_FORMULA:
            formula = "a sum of tensors: --explain shows it"
        row = [part.name, gibibytes(part.bytes), f"{part.bytes:,}", f"{part.upper_bytes:,}" if part.upper_bytes else ""]
        row.append(formula)
        if explain:
            row += [", ".join(f"{value.name}={value.value}" for value in part.inputs), part.source]
        rows.append(row)
    headers = ["component", "size", "bytes", "at most", "formula", *(("inputs", "source") if explain else ())]
    return table(headers, rows) if rows else ""


def _alternatives(plan: plans_pb2.Plan) -> str:
    rows = [
        (
            _action(other),
            dtype(other.dtype),
            f"{other.context_length:,}",
            str(other.max_concurrency),
            gibibytes(other.upper_bytes)
            + (f" per rank x {other.tensor_parallel}" if other.tensor_parallel > 1 else ""),
            gibibytes(other.freed_bytes) if other.freed_bytes else "",
            f"{other.undo_seconds:.0f} s" if other.undo_seconds else "",
            other.device_id,
            other.warning,
        )
        for other in plan.alternatives
    ]
    headers = ("would fit", "dtype", "context", "at once", "at most", "frees", "to undo", "device", "but")
    return table(headers, rows)


def _action(other: plans_pb2.PlanAlternative) -> str:
    if other.tensor_parallel > 1:
        return f"tensor_parallel={other.tensor_parallel}"
    return other.action.replace("_", " ")


def fleet_table(options: Sequence[dict[str, object]]) -> str:
    """Return what devices hold, one way of splitting a line."""
    rows = [_fleet_row(option) for option in options]
    first = options[0] if options else {}
    headers = (
        "devices an instance",
        "replicas",
        "weights of one",
        f"context with {first.get('max_concurrency', 0)} at once",
        f"at once with {first.get('full_context_length', 0):,} tokens",
        "but",
    )
    return table(headers, rows)


def _fleet_row(option: dict[str, object]) -> tuple[str, ...]:
    if option["refusal"]:
        return (str(option["ranks"]), "", "", "", "", str(option["refusal"]))
    weights = option["weights_bytes"]
    return (
        str(option["ranks"]),
        str(option["replicas"]) if option["replicas"] else "none",
        gibibytes(weights) if isinstance(weights, int) else "",
        f"{option['context_length']:,}" if option["context_length"] else "none",
        str(option["full_context_concurrency"]) if option["full_context_concurrency"] else "none",
        "" if option["replicas"] else "one does not fit at any context",
    )


def _bytes_of(plan: plans_pb2.Plan, name: str) -> int:
    return sum(part.bytes for part in plan.components if part.name == name)


def _times(plan: plans_pb2.Plan) -> str:
    """Return how often a rank's figure counts; nothing where nothing is split."""
    return f" per rank x {len(plan.ranks)}" if len(plan.ranks) > 1 else ""
