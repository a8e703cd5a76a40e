"""The daemon's servicers, made once.

The gRPC server and the HTTP gateway call the same objects.
"""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.rpc.admission import Admission
from echoplaned.rpc.deduplication import RequestDeduplicator
from echoplaned.rpc.deps import RpcDeps
from echoplaned.rpc.following import Watchers
from echoplaned.rpc.keys import KeyService
from echoplaned.rpc.load_outcomes import LoadOutcomeCounter
from echoplaned.rpc.models import ModelService
from echoplaned.rpc.operations import OperationsService
from echoplaned.rpc.planning import PlanningService
from echoplaned.rpc.probing import HealthChecker
from echoplaned.rpc.repository import RepositoryService
from echoplaned.rpc.repository_catalogue import RepositoryCatalogue
from echoplaned.rpc.request_streams import RequestStreams
from echoplaned.rpc.rollouts import RolloutService
from echoplaned.rpc.status_service import StatusService


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that answers calls of the API.

    The servicers share limits and remembered requests, whichever way a call comes.

    Attributes:
        deps: what they were made from.
        models: models and versions.
        rollouts: rollouts.
        planning: plans and devices.
        status: status, metrics, explanations and events.
        operations: long-running operations.
        repository: Triton's repository extension.
        health_watchers: counts health's streams, of all servers together.
        request_streams: counts streams of requests, of all servers together.
        keys: keys of the gateway's callers; None: none are made here.
    """

    deps: RpcDeps
    models: ModelService
    rollouts: RolloutService
    planning: PlanningService
    status: StatusService
    operations: OperationsService
    repository: RepositoryService
    health_watchers: Watchers
    request_streams: RequestStreams
    keys: KeyService | None = None


def build_services(deps: RpcDeps) -> Services:
    """Return the servicers of a daemon; called once for each."""
    handle, lifecycle = deps.handle, deps.lifecycle
    memory = RequestDeduplicator()
    load_outcomes = LoadOutcomeCounter(handle.state)
    watchers = Watchers(deps.limits.max_watchers)
    admission = Admission(deps, memory, load_outcomes)
    health = HealthChecker(handle, deps.prober, deps.emit, deps.last_probe)
    return Services(
        deps=deps,
        models=ModelService(handle, admission, memory, health, deps.pid_of),
        rollouts=RolloutService(handle, lifecycle, watchers, memory),
        planning=PlanningService(handle, admission, deps.planning),
        status=StatusService(deps, watchers, load_outcomes),
        operations=OperationsService(handle, lifecycle, watchers, deps.pid_of, load_outcomes),
        repository=RepositoryService(
            handle, admission, RepositoryCatalogue(deps.planning, deps.unloaded), deps.daemon_version, watchers
        ),
        # Apart from the rest: a load balancer with a stream a model must not take away what people watch a rollout with.
        health_watchers=Watchers(deps.limits.max_health_watchers, "health watchers"),
        request_streams=RequestStreams(deps.limits.max_request_streams),
        keys=KeyService(deps.keys, deps.socket) if deps.keys is not None else None,
    )
