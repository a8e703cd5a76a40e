"""Models and their traffic."""

from __future__ import annotations

from echoplane.v1 import models_pb2, types_pb2
from echoplaned.core.names import model_name, rollout_name, version_name
from echoplaned.core.queries import etag, has_served
from echoplaned.core.state import Model
from echoplaned.rpc.convert.common import timestamp
from echoplaned.rpc.convert.versions import signature_to_pb
from echoplaned.rpc.health_view import model_health


def model_to_pb(model: Model) -> models_pb2.Model:
    """Return a model as the API shows it."""
    name = model_name(model.model_id)
    serving = model.versions.get(model.serving_version)
    return models_pb2.Model(
        name=name,
        serving_version=serving_version_name(model),
        traffic=weights_to_pb(model.model_id, published_weights(model)),
        rollout=rollout_name(model.model_id, model.rollout.rollout_id) if model.rollout is not None else "",
        health=model_health(model),
        xds_target=f"xds:///{name}",
        signature=None if serving is None else signature_to_pb(serving.facts.signature),
        labels=dict(model.labels),
        aliases=model.aliases,
        etag=etag(model),
        create_time=timestamp(model.create_time_s),
        update_time=timestamp(model.update_time_s),
    )


def serving_version_name(model: Model) -> str:
    """Return the name of the version that the traffic belongs to.

    Empty until the first one was ready.
    """
    return version_name(model.model_id, model.serving_version) if has_served(model) else ""


def published_weights(model: Model) -> dict[str, int]:
    """Return the published weights by version, in millionths.

    They are those that are wanted now, without entries of weight 0.
    """
    clusters = model.routes.clusters if model.routes is not None else ()
    return {c.version: c.weight_ppm for c in clusters if c.routed and c.weight_ppm}


def weights_to_pb(model_id: str, weights: dict[str, int]) -> list[types_pb2.TrafficWeight]:
    """Return weights by version as the API shows them, by name."""
    return [
        types_pb2.TrafficWeight(version=version_name(model_id, version), weight_ppm=ppm)
        for version, ppm in sorted(weights.items())
    ]
