"""A model's desired routes, as the xDS side takes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteEndpoint:
    """An instance as an xDS client dials it: ``HOST:PORT``, gRPC."""

    address: str
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One version as a cluster. ``routed``: the model's route names it; else only the version's own target does."""

    version: str
    weight_ppm: int
    endpoints: tuple[RouteEndpoint, ...]
    routed: bool


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """The complete routes of one model; the newest epoch wins."""

    model: str
    epoch: int
    clusters: tuple[ClusterView, ...]
