"""A model's desired routes, as the xDS side takes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteEndpoint:
    """An instance as an xDS client dials it: ``HOST:PORT``; where only a gateway of this machine does, also ``unix:/PATH``."""

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
    """

    version: str
    weight_ppm: int
    endpoints: tuple[RouteEndpoint, ...]
    routed: bool
    openai: tuple[RouteEndpoint, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """The complete routes of one model; the newest epoch wins."""

    model: str
    epoch: int
    clusters: tuple[ClusterView, ...]
