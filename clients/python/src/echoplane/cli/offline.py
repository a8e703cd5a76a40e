"""Plans without a daemon, where `echoplaned` is installed beside this client."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from echoplane.cli.text import dtype
from echoplane.errors import from_status
from echoplane.v1 import planning_pb2, plans_pb2


def plan_here(request: planning_pb2.PlanModelRequest) -> plans_pb2.Plan | None:
    """Return the plan for this host's devices as if they were empty, or None where `echoplaned` is not installed.

    Raises:
        EchoplaneError: the checkpoint cannot be planned.
    """
    # By name and late: this distribution stands without the daemon's, and uses it only if it happens to be there.
    try:
        facts = import_module("echoplaned.core.facts")
        errors = import_module("echoplaned.core.errors")
        planning = import_module("echoplaned.planning")
        plans = import_module("echoplaned.rpc.convert.plans")
        status = import_module("echoplaned.rpc.status")
    except ImportError:
        return None
    named = dict(request.engine_options)
    weights = named.pop("weights", "")
    shape = planning.ShapeRequest(
        dtype=facts.Dtype(dtype(request.dtype)) if request.dtype else None,
        context_length=request.context_length or None,
        max_concurrency=request.max_concurrency or None,
        engine=request.engine,
        replicas=request.replicas or None,
        options=tuple(named.items()),
        weights_format=weights,
    )
    try:
        plan = planning.plan_offline(path_of(request.source_uri), shape)
    except errors.EchoplaneError as error:
        raise from_status(status.to_status(error.failure)) from error
    return cast(plans_pb2.Plan, plans.plan_to_pb(plan))


def path_of(uri: str) -> Path:
    """Return the path in a `file:` URI, written with one slash or three."""
    path = uri.removeprefix("file:")
    return Path(path.removeprefix("//") if path.startswith("///") else path)
