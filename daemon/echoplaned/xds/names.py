"""Names of xDS resources, and what they say about models and versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned.core.names import ResourceKind, parse, version_name

GATEWAY = "echoplane-gateway"
"""Name of the gateway's listener and of its route configuration, which holds every model."""


MAX_NAME_LENGTH: Final = 255
"""Characters of any resource's name; the longest of ours has 150."""

_OPENAI: Final = "/openai"
"""Ends the name of a version's cluster for OpenAI's API; no version's name holds a slash."""
# Others' names are asked for too, where a client serves more than us: xdstp://…, a server's own listener. No space, no controls.
_ANY: Final = re.compile(r"[!-~]+")


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


def openai_name(model: str, version: str) -> str:
    """Return the name of a version's cluster for OpenAI's API, and of that cluster's endpoints."""
    return f"{version_name(model, version)}{_OPENAI}"


def parse_cluster(name: str) -> Target | None:
    """Return the version that a cluster of either kind belongs to; None for anything else."""
    found = parse_name(name.removesuffix(_OPENAI))
    return found if found is not None and found.version else None


def parse_name(name: str) -> Target | None:
    """Read the name of a model's or a version's resources; None for anything else: it can never be published."""
    found = parse(name)
    if found is None or found.kind not in {ResourceKind.MODEL, ResourceKind.VERSION}:
        return None
    return Target(found.model, found.child)


def is_name(name: str) -> bool:
    """Return whether this may be a resource's name, ours or another's: visible ASCII, and not endless."""
    return len(name) <= MAX_NAME_LENGTH and _ANY.fullmatch(name) is not None
