"""A model's desired routes, as the xDS side takes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteEndpoint:
    """Address of an instance as an xDS client dials it.

    Attributes:
        address: ``HOST:PORT``; where only a gateway of this machine dials it, also ``unix:/PATH``.
        healthy: whether calls may be sent to it.
    """

    address: str
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One version as a cluster.

    Attributes:
        version: whose it is.
        weight_ppm: its share of the model's requests.
        endpoints: where its instances answer gRPC.
        routed: whether the model's route names it; else only the version's own target does.
        openai: where they answer OpenAI's API over HTTP/1.1; None: none of them ever did, so there is no such cluster.
        oip_http: whether they answer the Open Inference Protocol's REST form there too.
    """

    version: str
    weight_ppm: int
    endpoints: tuple[RouteEndpoint, ...]
    routed: bool
    openai: tuple[RouteEndpoint, ...] | None = None
    oip_http: bool = False


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """The complete routes of one model.

    Attributes:
        model: id of the model.
        epoch: number of the routes, rising over all models; the newest wins.
        clusters: one a version, by the version's id; empty: the model has no routes any more.
        aliases: names as people write them; matched in bodies and in /v1/models paths.
    """

    model: str
    epoch: int
    clusters: tuple[ClusterView, ...]
    aliases: tuple[str, ...] = ()
