"""Plans without a daemon, where `echoplaned` is installed beside this client."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from echoplane.v1 import planning_pb2, plans_pb2


class _Planning(Protocol):
    """What this command uses of `echoplaned.planning`."""

    def plan_offline(self, request: planning_pb2.PlanModelRequest, /) -> plans_pb2.Plan:
        """Plan a checkpoint for this host's devices."""


def plan_here(request: planning_pb2.PlanModelRequest) -> plans_pb2.Plan | None:
    """Return the plan for this host's devices, or None where `echoplaned` is not installed.

    Raises:
        EchoplaneError: the checkpoint cannot be planned.
    """
    if find_spec("echoplaned") is None:
        return None
    return cast(_Planning, import_module("echoplaned.planning")).plan_offline(request)
