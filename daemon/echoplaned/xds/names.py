"""Names of xDS resources, and what they say about models and versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned.core.names import ResourceKind, parse, version_name

GATEWAY = "echoplane-gateway"
"""Name of the gateway's listener and of the route configuration that others' Envoys ask for, which holds every model."""

DOOR_ROUTES = "echoplane-door"
"""Name of the route configuration of the gateway that the daemon runs itself; nobody else is served it."""

TABLES: Final = (GATEWAY, DOOR_ROUTES)
"""Route configurations that hold every model."""


MAX_NAME_LENGTH: Final = 255
"""Characters of any resource's name; the longest of ours has 150."""

_OPENAI: Final = "/openai"
"""Ends the name of a version's cluster for OpenAI's API; no version's name holds a slash."""
# Others' names are asked for too, where a client serves more than us: xdstp://…, a server's own listener. No space, no controls.
_ANY: Final = re.compile(r"[!-~]+")


class ResourceType(StrEnum):
    """The resource types of xDS, by type URL.

    They are in the order in which changes must be pushed: make before break. ``EXTENSION`` is what may change of the gateway's filters
    while its listener stays (ECDS); nobody but the gateway that the daemon runs itself is served any.

    See https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
    """

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    # Before the routes: a key may call a model by a new alias by the time that it leads anywhere.
    EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    @property
    def complete(self) -> bool:
        """Whether a state-of-the-world response must be complete.

        It then must hold every subscribed resource: what it leaves out is deleted.
        """
        return self in (ResourceType.CLUSTER, ResourceType.LISTENER)


RESOURCE_TYPES: dict[str, ResourceType] = {str(each): each for each in ResourceType}
"""By type URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """The model or version that a resource's name speaks of.

    The names are ``models/MODEL`` and ``models/MODEL/versions/VERSION``.

    Attributes:
        model: name of the model.
        version: id of the version; empty for the model itself.
    """

    model: str
    version: str = ""


def openai_name(model: str, version: str) -> str:
    """Return the name of a version's cluster for OpenAI's API.

    That cluster's endpoints have the same name.
    """
    return f"{version_name(model, version)}{_OPENAI}"


def parse_cluster(name: str) -> Target | None:
    """Return the version that a cluster belongs to; None for anything else.

    The cluster may be of either kind: for gRPC or for OpenAI's API.
    """
    found = parse_name(name.removesuffix(_OPENAI))
    return found if found is not None and found.version else None


def is_openai_cluster(name: str) -> bool:
    """Say whether a cluster is for OpenAI's API, and so never answers gRPC."""
    return name.endswith(_OPENAI)


def parse_name(name: str) -> Target | None:
    """Read the name of a model's or a version's resources.

    None for anything else: it can never be published.
    """
    found = parse(name)
    if found is None or found.kind not in {ResourceKind.MODEL, ResourceKind.VERSION}:
        return None
    return Target(found.model, found.child)


def is_name(name: str) -> bool:
    """Return whether this may be a resource's name, ours or another's.

    Such a name is visible ASCII, and at most ``MAX_NAME_LENGTH`` characters long.
    """
    return len(name) <= MAX_NAME_LENGTH and _ANY.fullmatch(name) is not None
