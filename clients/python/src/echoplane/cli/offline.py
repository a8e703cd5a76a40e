"""Plans without a daemon, where `echoplaned` is installed beside this client."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from echoplane.cli.text import dtype
from echoplane.errors import from_status
from echoplane.v1 import planning_pb2, plans_pb2


@dataclass(frozen=True, slots=True)
class Here:
    """What was worked out without a daemon.

    Attributes:
        plan: memory plan on empty devices.
        fleet: one entry a way to split over the devices; empty: that was not asked for.
    """

    plan: plans_pb2.Plan
    fleet: tuple[dict[str, object], ...] = ()


def plan_here(request: planning_pb2.PlanModelRequest, device: str = "", *, fit: bool = False) -> Here | None:
    """Return the plan for empty devices, or None where `echoplaned` is not installed.

    Args:
        request: what to plan.
        device: ``CARD:COUNT`` of devices that are not here; empty: this host's.
        fit: whether to say how many replicas the devices hold, too.

    Raises:
        EchoplaneError: the checkpoint cannot be planned, or there is no such card.
    """
    # By name and late: this distribution stands without the daemon's, and uses it only if it happens to be there.
    try:
        errors = import_module("echoplaned.core.errors")
        planning = import_module("echoplaned.planning")
        plans = import_module("echoplaned.rpc.convert.plans")
        status = import_module("echoplaned.rpc.status")
    except ImportError:
        return None
    shape, path = _shape(request, planning), path_of(request.source_uri)
    try:
        devices = planning.devices_of(device) if device else planning.find_devices()
        plan = planning.plan_offline(path, shape, devices)
        options = planning.fit_fleet(planning.survey_model(path), devices, shape) if fit else ()
    except errors.DaemonError as error:
        raise from_status(status.to_status(error.failure)) from error
    return Here(cast(plans_pb2.Plan, plans.plan_to_pb(plan)), tuple(asdict(option) for option in options))


def _shape(request: planning_pb2.PlanModelRequest, planning: ModuleType) -> object:
    """Return what is asked of the serving shape as the planner takes it."""
    facts = import_module("echoplaned.core.facts")
    named = dict(request.engine_options)
    weights = named.pop("weights", "")
    return planning.ShapeRequest(
        dtype=facts.Dtype(dtype(request.dtype)) if request.dtype else None,
        context_length=request.context_length or None,
        max_concurrency=request.max_concurrency or None,
        engine=request.engine,
        replicas=request.replicas or None,
        options=tuple(named.items()),
        weights_format=weights,
    )


def path_of(uri: str) -> Path:
    """Return the path in a `file:` URI, written with one slash or three."""
    path = uri.removeprefix("file:")
    return Path(path.removeprefix("//") if path.startswith("///") else path)
