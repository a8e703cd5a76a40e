"""PlanningService: what-if plans, devices, reservoirs.

Nothing here changes anything.
"""

from __future__ import annotations

import asyncio

from echoplane.v1 import planning_pb2, planning_pb2_grpc, plans_pb2
from echoplaned.core.errors import DaemonError
from echoplaned.core.plan import Plan
from echoplaned.ports.handle import Handle
from echoplaned.ports.planning import Planning
from echoplaned.rpc.admission import Admission
from echoplaned.rpc.convert.devices import device_to_pb
from echoplaned.rpc.convert.plans import overrides_from_pb, plan_to_pb, reservoir_to_pb
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.paging import PageQuery, write_page
from echoplaned.rpc.status import to_status


class PlanningService(planning_pb2_grpc.PlanningServiceServicer):
    """Answers whether, where and how a version would fit."""

    def __init__(self, handle: Handle, admission: Admission, planning: Planning) -> None:
        self._handle = handle
        self._admission = admission
        self._planning = planning

    async def PlanModel(  # noqa: N802 - the API's name
        self, request: planning_pb2.PlanModelRequest, context: Context
    ) -> plans_pb2.Plan:
        """Plan one version."""
        return plan_to_pb(await self._admission.plan(request, context.peer()))

    async def BatchPlanModels(  # noqa: N802 - the API's name
        self, request: planning_pb2.BatchPlanModelsRequest, context: Context
    ) -> planning_pb2.BatchPlanModelsResponse:
        """Plan each version as if those before it that fit were placed.

        A version that cannot be planned has its error as its own result.
        """
        results = await self._admission.plan_batch(request.requests, context.peer())
        return planning_pb2.BatchPlanModelsResponse(results=[_result(result) for result in results])

    async def ListDevices(  # noqa: N802 - the API's name
        self, request: planning_pb2.ListDevicesRequest, context: Context
    ) -> planning_pb2.ListDevicesResponse:
        """List the devices by id."""
        state = self._handle.state
        devices, token = await write_page(
            state.devices,
            lambda d: (d.device_id,),
            request,
            PageQuery("ListDevices"),
            lambda d: device_to_pb(d, state),
        )
        return planning_pb2.ListDevicesResponse(devices=devices, next_page_token=token)

    async def GetReservoirParameters(  # noqa: N802 - the API's name
        self, request: planning_pb2.GetReservoirParametersRequest, context: Context
    ) -> plans_pb2.Reservoir:
        """Return the reservoir for a parameter count."""
        reservoir = await asyncio.to_thread(
            self._planning.reservoir,
            request.parameter_count,
            request.max_concurrency or 1,
            overrides_from_pb(request.overrides),
        )
        return reservoir_to_pb(reservoir)


def _result(result: Plan | DaemonError) -> planning_pb2.PlanResult:
    if isinstance(result, DaemonError):
        return planning_pb2.PlanResult(error=to_status(result.failure))
    return planning_pb2.PlanResult(plan=plan_to_pb(result))
