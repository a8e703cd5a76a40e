"""The immutable snapshot of every resource that is served.

It is checked as a whole before anybody sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from types import MappingProxyType

from echoplaned.addresses import MAX_SOCKET_PATH_BYTES
from echoplaned.core.names import model_name
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.core.state import WEIGHT_TOTAL_PPM
from echoplaned.ports.door_clients import NOBODY, DoorClients
from echoplaned.xds.door.clients import build_extensions
from echoplaned.xds.messages import SOCKET_SCHEME, routed_clusters
from echoplaned.xds.names import DOOR_ROUTES, GATEWAY, ResourceType
from echoplaned.xds.options import BARE_FRAME, DoorFrame
from echoplaned.xds.resources import ModelResources, Resource, build_door, build_gateway, build_model, digest

_PORT = re.compile(r"[0-9]{1,5}")
_SEGMENT = re.compile(r"[^/\s*]+")


class SnapshotInconsistentError(ValueError):
    """Routes that no client could follow; nothing of them was published."""

    reason = "SNAPSHOT_INCONSISTENT"


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything that is served at one moment.

    Made by ``build`` and ``with_model`` only, which check it.

    Attributes:
        models: resources of each model, by its name.
        by_type: every resource, by type and name; it has all types.
        frame: what the routes of the gateway that the daemon runs hold beside its models.
        clients: who may call through that gateway.
        aliases: of the models that a client is restricted to.
    """

    models: Mapping[str, ModelResources]
    by_type: Mapping[ResourceType, Mapping[str, Resource]]
    frame: DoorFrame = BARE_FRAME
    clients: DoorClients = NOBODY
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, kind: ResourceType, name: str) -> Resource | None:
        """Return a resource, or None."""
        return self.by_type[kind].get(name)

    def route_of(self, model: str) -> Resource | None:
        """Return the model's own route configuration.

        None where the model has no listener.
        """
        return self.by_type[ResourceType.ROUTE].get(model_name(model))

    def epoch_of(self, model: str) -> int | None:
        """Return the epoch of the model's routes; None for a model that is not there."""
        found = self.models.get(model)
        return found.routes.epoch if found else None

    def version(self) -> str:
        """Return a digest of all resources' names and versions.

        Equal content has an equal version, in any process.
        """
        lines = (f"{each.type} {each.name} {each.version}" for each in self)
        return digest("\n".join(sorted(lines)).encode())

    def __iter__(self) -> Iterator[Resource]:
        for resources in self.by_type.values():
            yield from resources.values()


@dataclass(frozen=True, slots=True)
class SnapshotDiff:
    """The difference between two snapshots; false where there is none.

    Attributes:
        changed: names whose resource is new, different or gone, by type.
    """

    changed: Mapping[ResourceType, frozenset[str]]

    def __bool__(self) -> bool:
        return any(self.changed.values())


EMPTY = Snapshot({}, {kind: {} for kind in ResourceType})
"""What is there before the first routes."""


def build(routes: Mapping[str, ModelRoutes], previous: Snapshot = EMPTY) -> Snapshot:
    """Build the snapshot of these models.

    What did not change since ``previous`` is taken over as it is.

    Raises:
        SnapshotInconsistentError: the routes contradict themselves, or are no xDS.
    """
    models: dict[str, ModelResources] = {}
    for model, wanted in routes.items():
        before = previous.models.get(model)
        if before is not None and before.routes == wanted:
            models[model] = before
            continue
        check_routes(model, wanted)
        models[model] = build_model(wanted, before)
    return _checked(models, previous)


def with_model(previous: Snapshot, routes: ModelRoutes) -> Snapshot:
    """Build the snapshot in which one model's routes are replaced.

    Raises:
        SnapshotInconsistentError: as for ``build``.
    """
    check_routes(routes.model, routes)
    built = build_model(routes, previous.models.get(routes.model))
    return _checked({**previous.models, routes.model: built}, previous)


def with_clients(previous: Snapshot, clients: DoorClients) -> Snapshot:
    """Build the snapshot in which others may call through the gateway."""
    aliases = _scoped_aliases(previous.models, clients)
    extensions = build_extensions(clients, aliases, previous.frame.rest_paths)
    by_type = {**previous.by_type, ResourceType.EXTENSION: extensions}
    return replace(previous, by_type=by_type, clients=clients, aliases=aliases)


def diff(old: Snapshot, new: Snapshot) -> SnapshotDiff:
    """Return the names that changed between two snapshots."""
    changed: dict[ResourceType, frozenset[str]] = {}
    for kind in ResourceType:
        before, after = old.by_type[kind], new.by_type[kind]
        names = {name for name, each in after.items() if _version(before.get(name)) != each.version}
        names |= before.keys() - after.keys()
        changed[kind] = frozenset(names)
    return SnapshotDiff(changed)


def is_ip_port(address: str) -> bool:
    """Return whether an address is ``IP:port``, IPv6 in brackets.

    Names are not resolved by xDS clients.
    """
    host, _, port = address.rpartition(":")
    try:
        ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        return False
    return _PORT.fullmatch(port) is not None and 0 < int(port) < 65536 and (":" not in host or host.startswith("["))


def is_socket(address: str) -> bool:
    """Return whether an address is ``unix:/PATH`` and short enough for a socket."""
    path = address.removeprefix(SOCKET_SCHEME)
    # Envoy refuses all endpoints of an assignment with one that is longer.
    fits = len(path.encode(errors="surrogatepass")) <= MAX_SOCKET_PATH_BYTES
    return address.startswith(SOCKET_SCHEME) and path.startswith("/") and path.isprintable() and fits


def check_routes(model: str, routes: ModelRoutes) -> None:
    """Check one model's routes before resources are made of them.

    Raises:
        SnapshotInconsistentError: wrong name, weights that do not add up, a duplicate, an address not IP:port.
    """
    if routes.model != model or not _SEGMENT.fullmatch(model):
        raise SnapshotInconsistentError(f"routes of {routes.model!r} published as model {model!r}")
    versions = [each.version for each in routes.clusters]
    if len(set(versions)) != len(versions):
        raise SnapshotInconsistentError(f"a version of {model} appears twice: {sorted(versions)}")
    for cluster in routes.clusters:
        if not _SEGMENT.fullmatch(cluster.version):
            raise SnapshotInconsistentError(f"{cluster.version!r} of {model} is no version's name")
        if cluster.weight_ppm < 0:
            raise SnapshotInconsistentError(f"version {cluster.version} of {model} has a negative weight")
        _check_addresses(model, cluster)
    routed = routed_clusters(routes)
    total = sum(each.weight_ppm for each in routed)
    if routed and total != WEIGHT_TOTAL_PPM:
        raise SnapshotInconsistentError(f"weights of {model} add up to {total}, not {WEIGHT_TOTAL_PPM}")


def _check_addresses(model: str, cluster: ClusterView) -> None:
    for endpoints in (cluster.endpoints, cluster.openai or ()):
        addresses = [each.address for each in endpoints]
        if len(set(addresses)) != len(addresses):
            raise SnapshotInconsistentError(f"an endpoint of {model}/{cluster.version} appears twice: {addresses}")
    for each in cluster.endpoints:
        if not is_ip_port(each.address):
            raise SnapshotInconsistentError(f"{each.address!r} is not IP:port, which is all that xDS clients take")
    for each in cluster.openai or ():
        if not is_ip_port(each.address) and not is_socket(each.address):
            raise SnapshotInconsistentError(
                f"{each.address!r} is neither IP:port nor unix:/PATH of {MAX_SOCKET_PATH_BYTES} bytes at most"
            )


def check(snapshot: Snapshot) -> None:
    """Check that the resources fit each other.

    Raises:
        SnapshotInconsistentError: a route names an unknown cluster, or a cluster has no endpoint assignment.
    """
    clusters = snapshot.by_type[ResourceType.CLUSTER]
    endpoints = snapshot.by_type[ResourceType.ENDPOINT]
    routes = snapshot.by_type[ResourceType.ROUTE]
    for route in routes.values():
        if missing := [name for name in route.clusters if name not in clusters]:
            raise SnapshotInconsistentError(f"route {route.name} names unknown clusters {missing}")
    if clusters.keys() != endpoints.keys():
        unmatched = sorted(clusters.keys() ^ endpoints.keys())
        raise SnapshotInconsistentError(f"clusters and endpoint assignments differ in {unmatched}")
    if odd := snapshot.by_type[ResourceType.LISTENER].keys() - routes.keys():
        raise SnapshotInconsistentError(f"listeners without routes: {sorted(odd)}")


def _checked(models: Mapping[str, ModelResources], previous: Snapshot) -> Snapshot:
    by_type: dict[ResourceType, dict[str, Resource]] = {kind: {} for kind in ResourceType}
    for built in models.values():
        for each in built.resources:
            if each.name in by_type[each.type]:
                raise SnapshotInconsistentError(f"two resources are called {each.name}")
            by_type[each.type][each.name] = each
    tables = build_gateway(models.values()), build_door(models.values(), previous.frame)
    for name, table in zip((GATEWAY, DOOR_ROUTES), tables, strict=True):
        before = previous.get(ResourceType.ROUTE, name)
        # The same object where nothing changed, parts included: an epoch without a change of the table is no new part.
        by_type[ResourceType.ROUTE][name] = before if before and before.version == table.version else table
    aliases = _scoped_aliases(models, previous.clients)
    by_type[ResourceType.EXTENSION] = (
        dict(previous.by_type[ResourceType.EXTENSION])
        if aliases == previous.aliases
        else build_extensions(previous.clients, aliases, previous.frame.rest_paths)
    )
    snapshot = Snapshot(models, by_type, previous.frame, previous.clients, aliases)
    check(snapshot)
    return snapshot


def _scoped_aliases(models: Mapping[str, ModelResources], clients: DoorClients) -> dict[str, tuple[str, ...]]:
    """Return the aliases of models that keys are for.

    And of those that have such a model's id as an alias.
    """
    scoped = {model for each in clients.clients for model in each.models}
    named = {name: each.routes.aliases for name, each in sorted(models.items()) if each.routes.aliases}
    return {name: aliases for name, aliases in named.items() if name in scoped or not scoped.isdisjoint(aliases)}


def _version(resource: Resource | None) -> str | None:
    return resource.version if resource else None
