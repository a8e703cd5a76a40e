"""What Explain says of the gateway: where a model's requests go by each protocol, and why not elsewhere."""

from __future__ import annotations

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.core.state import Model
from echoplaned.ports.gateway import GatewayState, GatewayStatus
from echoplaned.rpc.gateway_view import told_routes

HERE = (RouteEndpoint("127.0.0.1:7001"),)
SERVING = GatewayStatus(GatewayState.SERVING, "127.0.0.1:8480", 7)


def model(*clusters: ClusterView) -> Model:
    """Make a model with these routes."""
    return Model("m", create_time_s=0.0, update_time_s=0.0, aliases=("Org/M",), routes=ModelRoutes("m", 1, clusters))


def test_without_a_gateway_nothing_is_said() -> None:
    """Where it does not serve, that is said instead, with the reason."""
    assert told_routes(GatewayStatus(), model()) == ()
    ended = GatewayStatus(GatewayState.WAITING, "127.0.0.1:8480", last_failure="its process ended")
    assert told_routes(ended, model()) == ("the gateway at 127.0.0.1:8480 is WAITING: its process ended",)
    assert "404" in told_routes(SERVING, model())[0]


def test_each_protocol_has_its_share() -> None:
    """A version whose engine does not speak a protocol is left out of it, by name; the rest have its share."""
    old = ClusterView("v1", 950_000, HERE, routed=True, openai=HERE, oip_http=True)
    new = ClusterView("v2", 50_000, HERE, routed=True, openai=HERE)
    mute = ClusterView("v3", 0, HERE, routed=False)
    grpc, openai, oip = told_routes(SERVING, model(old, new, mute))
    assert grpc == "the gateway at 127.0.0.1:8480 sends gRPC to v1 95 %, v2 5 %"
    assert openai == "/v1/ to v1 95 %, v2 5 % whose body names m, Org/M"
    assert oip == "/v2/models/m to v1 100 % (not to v2, whose engine does not speak it)"
    only_grpc = ClusterView("v1", 1_000_000, HERE, routed=True)
    assert told_routes(SERVING, model(only_grpc))[1:] == (
        "/v1/: 404, as no routed version's engine speaks it",
        "/v2/models/m: 404, as no routed version's engine speaks it",
    )
