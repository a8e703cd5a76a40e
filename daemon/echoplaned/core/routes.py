"""A model's traffic: weights follow from the rollout's stage and who is READY."""

from __future__ import annotations

from echoplaned.core.endpoints import EndpointProtocol, oip_endpoint, openai_endpoint
from echoplaned.core.queries import is_ready, needs_instances
from echoplaned.core.rollout_state import Phase, Rollout
from echoplaned.core.routes_view import ClusterView, RouteEndpoint
from echoplaned.core.state import WEIGHT_TOTAL_PPM, Instance, InstanceState, Model, Version

# Weight 0 makes C-core drop the cluster and unsubscribe; 1 of 1,000,000 keeps the way back a mere change of weight.
KEEP_ALIVE_PPM = 1


def stage_weights(model: Model) -> dict[str, int]:
    """Return the weights that the rollout's stage asks for, whoever is alive.

    In millionths, by version id; empty: no routes at all.
    """
    rollout = model.rollout
    if model.deleting:
        return {}
    if rollout is None:
        return {model.serving_version: WEIGHT_TOTAL_PPM} if model.serving_version else {}
    old, new = rollout.from_version, rollout.to_version
    match rollout.phase:
        case Phase.SHIFTING | Phase.OBSERVING:
            share = _stage_ppm(rollout)
        case Phase.SOAKING:
            share = WEIGHT_TOTAL_PPM - KEEP_ALIVE_PPM
        case Phase.REVERTING:
            share = KEEP_ALIVE_PPM
        case Phase.RELEASING:
            return {new: WEIGHT_TOTAL_PPM}
        case _:  # PREPARING, CLEANING: the old version alone
            return {old: WEIGHT_TOTAL_PPM}
    return {old: WEIGHT_TOTAL_PPM - share, new: share}


def _stage_ppm(rollout: Rollout) -> int:
    if not rollout.cluster_acknowledged:
        return KEEP_ALIVE_PPM
    percent = rollout.policy.stages_percent[rollout.stage - 1]
    return min(percent * (WEIGHT_TOTAL_PPM // 100), WEIGHT_TOTAL_PPM - KEEP_ALIVE_PPM)


def desired_weights(model: Model) -> dict[str, int]:
    """Return the stage's weights over READY versions, scaled to 1,000,000.

    With none READY the weights stay as the stage has them: a model that served once keeps its routes.
    """
    wanted = stage_weights(model)
    ready = {version: ppm for version, ppm in wanted.items() if is_ready(model, version)}
    if ready:
        return renormalise(ready)
    served_once = any(c.routed for c in _clusters(model))
    return {v: ppm for v, ppm in wanted.items() if v in model.versions} if served_once else {}


def renormalise(weights: dict[str, int]) -> dict[str, int]:
    """Scale weights so that they add up to 1,000,000 exactly.

    What rounding leaves goes to the largest; each keeps at least 1.
    """
    total = sum(weights.values())
    if total == WEIGHT_TOTAL_PPM:
        return dict(weights)
    scaled = {v: max(KEEP_ALIVE_PPM, ppm * WEIGHT_TOTAL_PPM // total) for v, ppm in weights.items()}
    biggest = max(scaled, key=lambda v: (scaled[v], v))
    scaled[biggest] += WEIGHT_TOTAL_PPM - sum(scaled.values())
    return scaled


def desired_clusters(model: Model) -> tuple[ClusterView, ...]:
    """Return the clusters to publish.

    The weighted ones, and READY versions without traffic, which are reachable by their own target.
    """
    weights = desired_weights(model)
    clusters = []
    for name, version in sorted(model.versions.items()):
        endpoints = ready_endpoints(version)
        openai = _openai_endpoints(model, version)
        oip_http = openai is not None and _has_oip_http(model, version)
        if name in weights:
            clusters.append(ClusterView(name, weights[name], endpoints, routed=True, openai=openai, oip_http=oip_http))
        elif endpoints and needs_instances(version):
            clusters.append(ClusterView(name, 0, endpoints, routed=False, openai=openai, oip_http=oip_http))
    return tuple(clusters)


def ready_endpoints(version: Version) -> tuple[RouteEndpoint, ...]:
    """Return where xDS clients reach a version's READY instances: gRPC over TCP.

    Silent ones only where there is no other.
    """
    found = (oip_endpoint(i.endpoints) for i in _answering(version))
    return tuple(RouteEndpoint(each.target) for each in found if each is not None and each.is_tcp)


def _openai_endpoints(model: Model, version: Version) -> tuple[RouteEndpoint, ...] | None:
    """Return where a gateway reaches a version's READY instances by OpenAI's API.

    A socket of this machine may be among it. A version that had such endpoints and has none now keeps its empty cluster: its callers shall
    hear that it is unavailable, and not that there is no such model, and its share must not go to others while it starts again.
    """
    found = (openai_endpoint(i.endpoints) for i in _answering(version))
    endpoints = tuple(RouteEndpoint(each.target) for each in found if each is not None)
    had = any(c.version == version.key.version and c.openai is not None for c in _clusters(model))
    return endpoints if endpoints or had else None


def _has_oip_http(model: Model, version: Version) -> bool:
    """Whether a version's engines answer OIP's REST form, or did before they left."""
    answering = _answering(version)
    if answering:
        return any(each.protocol is EndpointProtocol.OIP_HTTP for i in answering for each in i.endpoints)
    return any(c.version == version.key.version and c.oip_http for c in _clusters(model))


def _answering(version: Version) -> list[Instance]:
    """Return the READY instances; silent ones only where there is no other."""
    ready = [i for i in version.instances if i.state is InstanceState.READY]
    return [i for i in ready if not i.silent] or ready


def _clusters(model: Model) -> tuple[ClusterView, ...]:
    return model.routes.clusters if model.routes is not None else ()


def has_version(model: Model, version_id: str) -> bool:
    """Whether a model's newest routes name a version in any way."""
    return any(c.version == version_id for c in _clusters(model))
