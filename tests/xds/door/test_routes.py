"""The gateway's route table: one entry a model and alias, put together as bytes, and what stays when it changes."""

from __future__ import annotations

from dataclasses import replace

from envoy.config.route.v3 import route_components_pb2, route_pb2
from xds.type.matcher.v3 import matcher_pb2

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.door import filters
from echoplaned.xds.door.grpc_calls import refused_calls
from echoplaned.xds.door.routes import door_entry, door_table
from echoplaned.xds.names import DOOR_ROUTES, ResourceType
from echoplaned.xds.options import DoorFrame

HERE = (RouteEndpoint("127.0.0.1:7001"),)


def routes(model: str, *, openai: bool = True, oip_http: bool = True, aliases: tuple[str, ...] = ()) -> ModelRoutes:
    """Make routes of two versions at half the weight each."""
    clusters = tuple(
        ClusterView(version, 500_000, HERE, routed=True, openai=HERE if openai else None, oip_http=oip_http)
        for version in ("v1", "v2")
    )
    return ModelRoutes(model, 1, clusters, aliases)


def tree(table: bytes) -> matcher_pb2.Matcher:
    """Return the tree of models in a table."""
    host = route_pb2.RouteConfiguration.FromString(table).virtual_hosts[0]
    return host.matcher.on_no_match.matcher


def entries(table: bytes) -> dict[str, list[route_components_pb2.Route]]:
    """Return a table's routes by key, without the placeholder."""
    found = tree(table).matcher_tree.exact_match_map.map
    return {
        key: list(route_components_pb2.RouteList.FromString(value.action.typed_config.value).routes)
        for key, value in found.items()
        if key.isprintable()
    }


def test_joined_bytes_are_the_message() -> None:
    """A table of 300 models parses into one virtual host with a tree that has them all, and the errors behind it."""
    table = door_table([door_entry(routes(f"m{index}")) for index in range(300)])
    assert entries(table).keys() == {f"m{index}" for index in range(300)}
    found = tree(table)
    assert found.on_no_match.matcher.matcher_list.matchers
    assert found.matcher_tree.input.typed_config.value
    parsed = route_pb2.RouteConfiguration.FromString(table)
    assert parsed.name == DOOR_ROUTES
    assert [host.domains for host in parsed.virtual_hosts] == [["*"]]


def test_a_model_has_a_route_a_protocol() -> None:
    """OpenAI's paths and OIP's go to the HTTP/1.1 clusters, gRPC to the others, all by the same weights and with the version's name."""
    openai, oip, grpc = entries(door_table([door_entry(routes("m"))]))["m"]
    assert openai.match.prefix == "/v1/"
    assert oip.match.path_separated_prefix == "/v2/models/m"
    assert grpc.match.HasField("grpc")
    for route, suffix in ((openai, "/openai"), (oip, "/openai"), (grpc, "")):
        clusters = route.route.weighted_clusters.clusters
        assert [(each.name, each.weight.value) for each in clusters] == [
            (f"models/m/versions/{version}{suffix}", 500_000) for version in ("v1", "v2")
        ]
        assert [each.response_headers_to_add[0].header.value for each in clusters] == ["v1", "v2"]
        assert [each.header.header_name for each in route.route.hash_policy] == [
            "x-conversation-id",
            "x-echoplane-conversation",
        ]


def test_only_what_engines_speak_is_routed() -> None:
    """Without OpenAI's API there is neither of its routes, without OIP's REST form not that one."""
    assert len(entries(door_table([door_entry(routes("m", openai=False))]))["m"]) == 1
    assert len(entries(door_table([door_entry(routes("m", oip_http=False))]))["m"]) == 2


def test_aliases_are_for_bodies() -> None:
    """An alias is a key of its own, with OpenAI's route alone; OIP's paths and gRPC know ids only."""
    found = entries(door_table([door_entry(routes("m", aliases=("Org/Model-7B", "other")))]))
    assert found.keys() == {"m", "Org/Model-7B", "other"}
    assert [route.match.prefix for route in found["Org/Model-7B"]] == ["/v1/"]
    assert entries(door_table([door_entry(routes("m", openai=False, aliases=("a",)))])).keys() == {"m"}


def test_a_model_without_weights_is_unknown() -> None:
    """What is not routed has no entry."""
    unrouted = replace(routes("m"), clusters=(replace(routes("m").clusters[0], routed=False, weight_ppm=0),))
    assert door_entry(unrouted) == b""


def test_rest_paths_come_first() -> None:
    """The daemon's own REST paths go to the daemon, at and below each, and nothing beside them."""
    table = door_table([], DoorFrame(("/api/v1/model_serving/", "/health", "/v1/models")))
    host = route_pb2.RouteConfiguration.FromString(table).virtual_hosts[0]
    native, *entries = host.matcher.matcher_list.matchers[len(refused_calls()) :]
    refused = route_components_pb2.Route.FromString(native.on_match.action.typed_config.value)
    assert refused.direct_response.status == 403
    assert native.predicate.single_predicate.value_match.safe_regex.regex.startswith("/(?:echoplane|")
    patterns = [each.predicate.single_predicate.value_match.safe_regex.regex for each in entries]
    assert patterns[0] == r"/health/?(?:\?.*)?"
    assert patterns[3:] == [r"(?:/v1/models)(?:[/?].*)?", r"(?:/api/v1/model_serving|/health)(?:[/?].*)?"]
    for each in entries:
        route = route_components_pb2.Route.FromString(each.on_match.action.typed_config.value)
        assert route.route.cluster == "echoplane-control"


def test_unary_methods_of_the_daemon_wait_for_their_request() -> None:
    """What engines stream is held by nothing; a request to the daemon that is never ended does not reach it."""
    host = route_pb2.RouteConfiguration.FromString(door_table([], DoorFrame(("/api",)))).virtual_hosts[0]
    (entry,) = (
        each
        for each in host.matcher.matcher_list.matchers
        if "RepositoryIndex" in each.predicate.single_predicate.value_match.safe_regex.regex
    )
    route = route_components_pb2.Route.FromString(entry.on_match.action.typed_config.value)
    assert filters.BUFFER not in route.typed_per_filter_config
    assert {filters.TRANSFORM, filters.TRANSCODER} <= route.typed_per_filter_config.keys()


def test_the_table_changes_with_its_models_alone() -> None:
    """A model's new weights are a new table with a new part for it, and the other's part stays as it was."""
    one = snapshots.build({"m": routes("m"), "n": routes("n")})
    more = replace(routes("m"), epoch=2, clusters=routes("m").clusters[::-1], aliases=("a",))
    two = snapshots.with_model(one, more)
    before, after = one.get(ResourceType.ROUTE, DOOR_ROUTES), two.get(ResourceType.ROUTE, DOOR_ROUTES)
    assert before is not None
    assert after is not None
    assert before.version != after.version
    assert before.parts["n"] == after.parts["n"]
    assert after.parts["m"].epoch == 2
    assert "models/m/versions/v1/openai" in after.clusters
