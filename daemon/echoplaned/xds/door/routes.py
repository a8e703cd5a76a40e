"""The gateway's route table: a tree with one entry a model.

So a request costs the same with ten models and with a thousand.


What the tree reads is the header that the filters set. REST paths of the daemon's own API come before it, errors after it. The table is
put together from fragments of one message, one a model, which are concatenated:
https://protobuf.dev/programming-guides/encoding/#last-one-wins
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from google.protobuf import any_pb2, duration_pb2
from xds.type.matcher.v3 import matcher_pb2

from echoplaned.core.door_headers import CONNECTION_HEADER
from echoplaned.core.names import model_name, version_name
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.ports.gateway import CONTROL_CLUSTER
from echoplaned.ports.transcoding import DAEMON_METHODS
from echoplaned.xds.door import answers, filters, matching
from echoplaned.xds.door.cors import ENGINES_OWN, allowed_pages
from echoplaned.xds.door.grpc_calls import TRANSPORT_ONLY, refused_calls, trailers_wanted
from echoplaned.xds.door.names import (
    CONVERSATION_HEADER,
    GRPC_TYPE,
    KEY_HEADER,
    LIMIT_HEADER,
    MODEL_HEADER,
    OIP_PREFIX,
    OIP_SERVICE,
    OPENAI_PREFIX,
    USER_HEADER,
    VERSION_HEADER,
)
from echoplaned.xds.door.renaming import renamed_to
from echoplaned.xds.door.statuses import as_oip, as_openai
from echoplaned.xds.messages import routed_clusters, routed_openai, serialise, weighted_action
from echoplaned.xds.names import DOOR_ROUTES, openai_name
from echoplaned.xds.options import BARE_FRAME, DoorFrame

RETRY_ON: Final = "connect-failure,refused-stream,reset-before-request"
RETRIES: Final = 2
"""Only what no engine can have begun is tried again, and within the version that was drawn."""

OPEN_PATH: Final = "/health"
_NATIVE: Final = r"/(?:echoplane|google\.longrunning|grpc|envoy)\..*"
_CONTENT_TYPE: Final = "content-type"
_PATH: Final = ":path"
_GRPC: Final = "grpc"
_DAEMONS_METHODS: Final = rf"/{re.escape(OIP_SERVICE)}/(?:{'|'.join(DAEMON_METHODS)})"
_DAEMONS_OIP: Final = rf"{OIP_PREFIX.rstrip('/')}(?:/?|/(?:health|repository)/.*)(?:\?.*)?"
_HOST_TAG: Final = bytes([route_pb2.RouteConfiguration.VIRTUAL_HOSTS_FIELD_NUMBER << 3 | 2])
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80


def door_entry(routes: ModelRoutes) -> bytes:
    """Return a model's entry, a fragment of the table's virtual host.

    It is empty if none is routed.
    """
    routed = routed_clusters(routes)
    if not routed:
        return b""
    openai, oip_http = routed_openai(routes), tuple(each for each in routed_openai(routes) if each.oip_http)
    by_openai = [_route(route_components_pb2.RouteMatch(prefix=OPENAI_PREFIX), routes, openai, openai_name)]
    # The path's name is compared once more: the tree's key could have come from a body.
    path = f"{OIP_PREFIX}{model_name(routes.model)}"
    by_path = [_route(route_components_pb2.RouteMatch(path_separated_prefix=path), routes, oip_http, openai_name)]
    grpc = route_components_pb2.RouteMatch(prefix="/", grpc=route_components_pb2.RouteMatch.GrpcRouteMatchOptions())
    by_grpc = [_route(grpc, routes, routed, version_name)]
    by_grpc[0].request_headers_to_add.append(trailers_wanted())
    found = [*(by_openai if openai else []), *(by_path if oip_http else []), *by_grpc]
    entries = {routes.model: matching.routes(*found)}
    if openai and routes.aliases:
        # Requests by the id pay nothing for the others' names.
        (by_alias,) = by_openai
        by_alias.typed_per_filter_config[filters.LUA].CopyFrom(renamed_to(routes.model))
        entries |= {alias: matching.routes(by_alias) for alias in routes.aliases}
    tree = matcher_pb2.Matcher(on_no_match=matching.nested(_tree(entries)))
    return serialise(route_components_pb2.VirtualHost(matcher=tree))


def door_table(entries: Iterable[bytes], frame: DoorFrame = BARE_FRAME) -> bytes:
    """Return the gateway's route configuration, serialised, from the models' entries.

    A thousand models are a megabyte, put together anew at each change of a stage: their bytes are joined, not parsed. The one virtual
    host is written by hand around them: https://protobuf.dev/programming-guides/encoding/#length-types

    Args:
        entries: the models', in an order that stays.
        frame: what it holds beside them.
    """
    table, host = _frame(frame)
    body = b"".join((host, *entries))
    return b"".join((table, _HOST_TAG, _varint(len(body)), body))


@lru_cache(maxsize=4)
def _frame(frame: DoorFrame) -> tuple[bytes, bytes]:
    """Return the table without its virtual host, and the virtual host without models."""
    matcher = matching.first_of(*refused_calls(), _native(), *_control(frame.rest_paths))
    unknown = matching.first_of(*_errors())
    # A tree must not be empty: no request's header holds a line's end.
    tree = _tree({"\n": matching.routes()})
    tree.on_no_match.CopyFrom(matching.nested(unknown))
    matcher.on_no_match.CopyFrom(matching.nested(tree))
    table = route_pb2.RouteConfiguration(
        name=DOOR_ROUTES,
        # By it connections take turns, at the daemon and at engines; on the gateway's own connections all callers would be one.
        request_headers_to_add=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=CONNECTION_HEADER, value="%DOWNSTREAM_REMOTE_ADDRESS%"),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        ],
        # They have done their work once the route is chosen. The model's header goes on: by it an engine knows an alias as its own name.
        request_headers_to_remove=[USER_HEADER, KEY_HEADER, LIMIT_HEADER, "authorization", "x-api-key"],
        response_headers_to_remove=["x-envoy-upstream-service-time", *ENGINES_OWN],
    )
    pages = {filters.PAGES: allowed_pages(frame.cors_origins)} if frame.cors_origins else None
    host = route_components_pb2.VirtualHost(
        name=DOOR_ROUTES, domains=["*"], matcher=matcher, typed_per_filter_config=pages
    )
    return serialise(table), serialise(host)


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    return bytes([*out, number])


def _tree(entries: dict[str, matcher_pb2.Matcher.OnMatch]) -> matcher_pb2.Matcher:
    names = matcher_pb2.Matcher.MatcherTree.MatchMap(map=entries)
    tree = matcher_pb2.Matcher.MatcherTree(input=matching.header_input(MODEL_HEADER), exact_match_map=names)
    return matcher_pb2.Matcher(matcher_tree=tree)


def _native() -> matcher_pb2.Matcher.MatcherList.FieldMatcher:
    """Return the entry of the control API over gRPC, which is not served here."""
    refused = answers.answer("native", answers.FORBIDDEN, None, filters.passed_by_grpc())
    refused.direct_response.body.inline_string = answers.NATIVE_REFUSED
    return matching.when_header(_PATH, _NATIVE, matching.route(refused))


def _control(paths: tuple[str, ...]) -> list[matcher_pb2.Matcher.MatcherList.FieldMatcher]:
    """Return the entries of the daemon's own REST paths."""
    if not paths:
        return []
    models = tuple(path for path in paths if path.startswith(OPENAI_PREFIX))
    others = tuple(path for path in paths if path not in models)
    # OpenAI's clients list models from a page; what manages them is for no page.
    hidden = filters.hidden_from_pages()
    oip_errors, openai_errors = {filters.LUA: as_oip()}, {filters.LUA: as_openai()}
    # Whoever watches over a service has no key.
    opened = _to_daemon({**filters.passed_by_rest(), **hidden, **filters.passed_by_anybody()}, "open")
    return [
        matching.when_header(_PATH, rf"{re.escape(OPEN_PATH)}/?(?:\?.*)?", opened),
        matching.when_header(_PATH, _DAEMONS_METHODS, _to_daemon({**_passed_by_unary_grpc(), **hidden}, _GRPC)),
        matching.when_header(_PATH, _DAEMONS_OIP, _to_daemon({**filters.passed_by_rest(), **hidden, **oip_errors})),
        *(
            matching.when_header(_PATH, _at_or_below(each), _to_daemon({**filters.passed_by_rest(), **switched}))
            for each, switched in ((models, openai_errors), (others, hidden))
            if each
        ),
    ]


def _passed_by_unary_grpc() -> dict[str, any_pb2.Any]:
    """Return what routes of gRPC's unary methods switch off.

    The wait for a body's end is not among it: none of them is a stream, and a request that its caller never ends stays at
    the gateway: it holds no place at the daemon.
    """
    return {name: switch for name, switch in filters.passed_by_grpc().items() if name != filters.BUFFER}


def _at_or_below(paths: tuple[str, ...]) -> str:
    begins = "|".join(re.escape(path.rstrip("/")) for path in paths)
    return f"(?:{begins})(?:[/?].*)?"


def _to_daemon(switched: dict[str, any_pb2.Any], name: str = "rest") -> matcher_pb2.Matcher.OnMatch:
    """Return a route to the daemon, by a name.

    ``switched``: the filters that do something else on it.
    """
    action = route_components_pb2.RouteAction(cluster=CONTROL_CLUSTER, timeout=duration_pb2.Duration(seconds=0))
    everything = route_components_pb2.Route(
        name=name,
        match=route_components_pb2.RouteMatch(prefix="/"),
        route=action,
        typed_per_filter_config=switched,
    )
    if name == _GRPC:
        everything.request_headers_to_add.append(trailers_wanted())
    else:
        everything.request_headers_to_remove.extend(TRANSPORT_ONLY)
    return matching.route(everything)


def _errors() -> list[matcher_pb2.Matcher.MatcherList.FieldMatcher]:
    """Return what is answered where no model was found.

    Every request is here once, before its body is read.
    """
    grpc = {**filters.passed_by_grpc(), **filters.choosing_models()}
    oip = {**filters.passed_by_oip(), **filters.choosing_models()}
    others = filters.for_named_models()
    not_found, bad = answers.NOT_FOUND, answers.BAD_REQUEST
    v1, v2 = f"{OPENAI_PREFIX}.*", f"{OIP_PREFIX}.*"
    named = matching.when_header(
        MODEL_HEADER,
        "(?s).*",
        matching.route(answers.answer("no-such-model", not_found, answers.NO_SUCH_MODEL, others)),
    )
    unnamed = matching.when_header(
        _PATH, v1, matching.route(answers.answer("no-model-named", bad, answers.NO_MODEL_NAMED, others))
    )
    return [
        matching.when_header(
            _CONTENT_TYPE,
            f"{re.escape(GRPC_TYPE)}.*",
            matching.route(answers.answer("no-such-model-grpc", not_found, None, grpc)),
        ),
        matching.when_header(
            _PATH, v2, matching.route(answers.answer("no-such-model-oip", not_found, answers.NO_SUCH_OIP_MODEL, oip))
        ),
        matching.when_header(_PATH, v1, matching.nested(matching.first_of(named, unnamed))),
    ]


def _route(
    match: route_components_pb2.RouteMatch,
    routes: ModelRoutes,
    clusters: Iterable[ClusterView],
    name_of: Callable[[str, str], str],
) -> route_components_pb2.Route:
    """Return a route to a model's versions by weight.

    A conversation stays with its version while the weights do.
    """
    action = weighted_action(routes.model, ())
    for each in clusters:
        header = base_pb2.HeaderValueOption(
            header=base_pb2.HeaderValue(key=VERSION_HEADER, value=each.version),
            append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        weight = action.weighted_clusters.clusters.add(
            name=name_of(routes.model, each.version), response_headers_to_add=[header]
        )
        weight.weight.value = each.weight_ppm
    action.weighted_clusters.use_hash_policy.value = True
    for name in (CONVERSATION_HEADER, USER_HEADER):
        header_policy = route_components_pb2.RouteAction.HashPolicy.Header(header_name=name)
        action.hash_policy.add(header=header_policy, terminal=True)
    action.retry_policy.retry_on = RETRY_ON
    action.retry_policy.num_retries.value = RETRIES
    return route_components_pb2.Route(match=match, route=action)
