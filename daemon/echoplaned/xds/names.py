"""Names of xDS resources, and what they say about models and versions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GATEWAY = "echoplane-gateway"
"""Name of the gateway's listener and of its route configuration, which holds every model."""


class ResourceType(StrEnum):
    """The four resource types, by type URL, in the order in which changes must be pushed: make before break.

    See https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
    """

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    @property
    def complete(self) -> bool:
        """Whether a state-of-the-world response must hold every subscribed resource: what it leaves out is deleted."""
        return self in (ResourceType.CLUSTER, ResourceType.LISTENER)


RESOURCE_TYPES: dict[str, ResourceType] = {str(each): each for each in ResourceType}
"""By type URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """What ``models/MODEL`` (``version`` is empty) or ``models/MODEL/versions/VERSION`` speaks of."""

    model: str
    version: str = ""


def model_name(model: str) -> str:
    """Return the name of a model's listener and route configuration."""
    return f"models/{model}"


def version_name(model: str, version: str) -> str:
    """Return the name of a version's listener, route configuration, cluster and endpoints."""
    return f"models/{model}/versions/{version}"


def parse_name(name: str) -> Target | None:
    """Read what ``model_name`` or ``version_name`` wrote; None for anything else."""
    parts = name.split("/")
    if not all(parts) or parts[0] != "models":
        return None
    if len(parts) == 2:
        return Target(parts[1])
    if len(parts) == 4 and parts[2] == "versions":
        return Target(parts[1], parts[3])
    return None
