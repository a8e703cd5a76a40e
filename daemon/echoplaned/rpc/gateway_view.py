"""Where the gateway sends a model's requests, and why, in words."""

from __future__ import annotations

from collections.abc import Iterable

from echoplaned.core.routes_view import ClusterView
from echoplaned.core.state import Model
from echoplaned.ports.gateway import GatewayState, GatewayStatus


def told_routes(gateway: GatewayStatus, model: Model) -> tuple[str, ...]:
    """Return a sentence a fact; none where no gateway is run.

    The weights are those of the model's newest routes.
    """
    if gateway.state is GatewayState.OFF:
        return ()
    if gateway.state is not GatewayState.SERVING:
        why = f": {gateway.last_failure}" if gateway.last_failure else ""
        return (f"the gateway at {gateway.listening} is {gateway.state.value}{why}",)
    routed = [each for each in (model.routes.clusters if model.routes is not None else ()) if each.routed]
    if not routed:
        return (f"the gateway at {gateway.listening} answers 404 for it, as no version is routed",)
    openai = [each for each in routed if each.openai is not None]
    names = ", ".join((model.model_id, *model.aliases))
    return (
        f"the gateway at {gateway.listening} sends gRPC to {_shares(routed)}",
        f"{_told('/v1/', openai, routed)} whose body names {names}" if openai else _told("/v1/", openai, routed),
        _told(f"/v2/models/{model.model_id}", [each for each in openai if each.oip_http], routed),
    )


def _told(path: str, speaking: list[ClusterView], routed: list[ClusterView]) -> str:
    """Say who gets a path's requests.

    Others are left out, as their engines do not speak it.
    """
    if not speaking:
        return f"{path}: 404, as no routed version's engine speaks it"
    silent = [each.version for each in routed if each not in speaking]
    without = f" (not to {', '.join(silent)}, whose engine does not speak it)" if silent else ""
    return f"{path} to {_shares(speaking)}{without}"


def _shares(clusters: Iterable[ClusterView]) -> str:
    """Say each version's share; what has no endpoint now answers 503."""
    found = list(clusters)
    total = sum(each.weight_ppm for each in found) or 1
    return ", ".join(f"{each.version} {100 * each.weight_ppm / total:g} %" for each in found)
