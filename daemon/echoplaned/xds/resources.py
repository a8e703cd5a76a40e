"""A model's routes as xDS resources, each serialised once.

gRPC clients ask for the listener ``models/MODEL`` (all versions by weight) or ``models/MODEL/versions/VERSION`` (that
version alone); route configurations, clusters and endpoints carry the same names. A version whose engines speak OpenAI's API has one
more cluster with endpoints, ``.../openai``, which the gateway's routes alone name. Versions of resources are digests of
their content, so that they mean the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from echoplaned.core.names import model_name, version_name
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.xds import gateway, messages
from echoplaned.xds.door import routes as door
from echoplaned.xds.names import DOOR_ROUTES, GATEWAY, ResourceType, openai_name
from echoplaned.xds.options import BARE_FRAME, DoorFrame


@dataclass(frozen=True, slots=True)
class Part:
    """One model's share of a resource.

    Attributes:
        digest: digest of the share's content.
        epoch: the epoch of the model that brought this content.
    """

    digest: str
    epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One serialised resource; compared by identity, or by name and version.

    Attributes:
        type: the resource type.
        name: name of the resource.
        version: digest of the content, or what the client brought.
        payload: the serialised message; empty for a version that only the client knows, of which nothing but name and version is known.
        clusters: names of the clusters that a route configuration routes to; else empty.
        parts: each model's share of it, by the model's name.
    """

    type: ResourceType
    name: str
    version: str
    payload: bytes
    clusters: tuple[str, ...]
    parts: Mapping[str, Part]

    @classmethod
    def unknown(cls, kind: ResourceType, name: str, version: str) -> Resource:
        """Return what stands for a version that only the client knows."""
        return cls(kind, name, version, b"", (), {})

    @property
    def is_unknown(self) -> bool:
        """Whether only the client knows this version."""
        return not self.payload


@dataclass(frozen=True, slots=True, eq=False)
class ModelResources:
    """Everything that is served for one model.

    Attributes:
        routes: what it was made of.
        resources: all but its share of the gateway's table.
        entry: its entry in the gateway's route table; empty where no cluster is routed.
        part: that entry's digest and epoch.
        openai_clusters: the clusters for OpenAI's API that the entry names.
        door_entry: its entry in the table of the gateway that the daemon runs.
        door_part: that entry's digest and epoch.
    """

    routes: ModelRoutes
    resources: tuple[Resource, ...]
    entry: bytes
    part: Part
    openai_clusters: tuple[str, ...] = ()
    door_entry: bytes = b""
    door_part: Part = Part("", 0)


def digest(content: bytes) -> str:
    """Return the version of a content: 16 hexadecimal digits of BLAKE2b."""
    return blake2b(content, digest_size=8).hexdigest()


def build_model(routes: ModelRoutes, previous: ModelResources | None = None) -> ModelResources:
    """Build a model's resources from its routes.

    What did not change since ``previous`` stays the same object, with its epoch.
    """
    known = {(each.type, each.name): each for each in previous.resources} if previous else {}
    built: list[Resource] = []
    for draft in _unversioned_resources(routes):
        payload = messages.serialise(draft.message)
        version = digest(payload)
        before = known.get((draft.type, draft.name))
        if before is not None and before.version == version:
            built.append(before)
            continue
        part = Part(version, routes.epoch)
        built.append(Resource(draft.type, draft.name, version, payload, draft.clusters, {routes.model: part}))
    entry, door_entry = gateway.model_entry(routes), door.door_entry(routes)
    part = _part_of(entry, routes, previous.part if previous else None)
    door_part = _part_of(door_entry, routes, previous.door_part if previous else None)
    openai = tuple(openai_name(routes.model, each.version) for each in messages.routed_openai(routes))
    return ModelResources(routes, tuple(built), entry, part, openai, door_entry, door_part)


def _part_of(entry: bytes, routes: ModelRoutes, previous: Part | None) -> Part:
    """Return what an entry is compared by; the same object where nothing changed."""
    part = Part(digest(entry), routes.epoch)
    return previous if previous is not None and previous.digest == part.digest else part


def build_gateway(models: Iterable[ModelResources]) -> Resource:
    """Build the gateway's route table from every model's entry, in order of name."""
    routed = sorted((each for each in models if each.entry), key=lambda each: each.routes.model)
    payload = messages.serialise(gateway.route_table(each.entry for each in routed))
    parts = {each.routes.model: each.part for each in routed}
    return Resource(ResourceType.ROUTE, GATEWAY, digest(payload), payload, _named_by_tables(routed), parts)


def build_door(models: Iterable[ModelResources], frame: DoorFrame = BARE_FRAME) -> Resource:
    """Build the daemon's own gateway's route table from every model's entry.

    The entries are in order of name.
    """
    routed = sorted((each for each in models if each.door_entry), key=lambda each: each.routes.model)
    payload = door.door_table((each.door_entry for each in routed), frame)
    parts = {each.routes.model: each.door_part for each in routed}
    return Resource(ResourceType.ROUTE, DOOR_ROUTES, digest(payload), payload, _named_by_tables(routed), parts)


def _named_by_tables(routed: Iterable[ModelResources]) -> tuple[str, ...]:
    return tuple(name for each in routed for name in (*_named(each.routes), *each.openai_clusters))


@dataclass(frozen=True, slots=True)
class _UnversionedResource:
    type: ResourceType
    name: str
    message: messages.Message
    clusters: tuple[str, ...] = ()


def _unversioned_resources(routes: ModelRoutes) -> Iterator[_UnversionedResource]:
    for cluster in sorted(routes.clusters, key=lambda each: each.version):
        name = version_name(routes.model, cluster.version)
        alone = ClusterView(cluster.version, 1, (), routed=True)
        yield _UnversionedResource(ResourceType.CLUSTER, name, messages.cluster(name))
        yield _UnversionedResource(ResourceType.ENDPOINT, name, messages.assignment(name, cluster.endpoints))
        yield _UnversionedResource(ResourceType.LISTENER, name, messages.listener(name))
        yield _UnversionedResource(
            ResourceType.ROUTE, name, messages.route_config(name, routes.model, (alone,)), (name,)
        )
        if cluster.openai is not None:
            name = openai_name(routes.model, cluster.version)
            yield _UnversionedResource(ResourceType.CLUSTER, name, messages.openai_cluster(name))
            yield _UnversionedResource(ResourceType.ENDPOINT, name, messages.assignment(name, cluster.openai))
    if routed := messages.routed_clusters(routes):
        name = model_name(routes.model)
        yield _UnversionedResource(ResourceType.LISTENER, name, messages.listener(name))
        yield _UnversionedResource(
            ResourceType.ROUTE, name, messages.route_config(name, routes.model, routed), _named(routes)
        )


def _named(routes: ModelRoutes) -> tuple[str, ...]:
    return tuple(version_name(routes.model, each.version) for each in messages.routed_clusters(routes))
