"""The gateway's filters that know who calls, as extensions that change alone.

A changed listener drains its connections; an extension does not, and is in force for the next request:
https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/extension

- ``KEYS`` finds the key's id by the key (a hash), and puts it where the key was.
- ``SCOPES`` looks the id up, and then the model that the filters before it found: two hashes, whatever the number of keys.
- ``LIMITS`` counts a key's requests, in a bucket that Envoy makes at its first one. It names numbers of requests and no key, as Envoy
  counts everybody anew where it changes: a key that is made or revoked changes nothing there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.rbac.v3 import rbac_pb2 as policy_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2 as rls_pb2
from envoy.extensions.filters.http.api_key_auth.v3 import api_key_auth_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.type.v3 import percent_pb2, token_bucket_pb2
from google.protobuf import duration_pb2, wrappers_pb2
from xds.type.matcher.v3 import matcher_pb2

from echoplaned.core.door_headers import ANONYMOUS, CLIENT_HEADER
from echoplaned.ports.door_clients import DoorClient, DoorClients
from echoplaned.ports.keys import MAX_ACTIVE_KEYS
from echoplaned.xds.door import matching
from echoplaned.xds.door.filters import LIMIT_SIGN
from echoplaned.xds.door.names import KEY_HEADER, KEYS, LIMIT_HEADER, LIMITS, MODEL_HEADER, SCOPES
from echoplaned.xds.messages import Message, pack_any, serialise
from echoplaned.xds.names import ResourceType
from echoplaned.xds.resources import Resource, digest

_MINUTE_S: Final = 60
_CLIENT: Final = "client"
_LIMIT: Final = "limit"
_ALL: Final = percent_pb2.FractionalPercent(numerator=100)
_NONE: Final = percent_pb2.FractionalPercent(numerator=0)
_UNSET: Final = "echoplane.unset"

MAX_SCOPES_KEPT: Final = 2000
"""Sets of models that are kept as messages: all keys are told anew whenever one is made, and few have a set of their own."""


def build_extensions(
    known: DoorClients, aliases: Mapping[str, tuple[str, ...]], rest_paths: tuple[str, ...]
) -> dict[str, Resource]:
    """Return the extensions by name.

    Args:
        known: who may call.
        aliases: other names of models, by the model's name.
        rest_paths: where the daemon's own REST paths begin; it decides there by itself.
    """
    built: tuple[tuple[str, Message], ...] = (
        (KEYS, _keys(known)),
        (SCOPES, _scopes(known, aliases, rest_paths)),
        (LIMITS, _limits(known)),
    )
    found: dict[str, Resource] = {}
    for name, config in built:
        payload = serialise(extension_pb2.TypedExtensionConfig(name=name, typed_config=pack_any(config)))
        found[name] = Resource(ResourceType.EXTENSION, name, digest(payload), payload, (), {})
    return found


def _keys(known: DoorClients) -> api_key_auth_pb2.ApiKeyAuth:
    credentials = [api_key_auth_pb2.Credential(key=each.key, client=_told_of(each)) for each in known.clients]
    if not known.required:
        credentials.append(api_key_auth_pb2.Credential(key=ANONYMOUS, client=ANONYMOUS))
    return api_key_auth_pb2.ApiKeyAuth(
        credentials=credentials,
        key_sources=[api_key_auth_pb2.KeySource(header=KEY_HEADER)],
        forwarding=api_key_auth_pb2.Forwarding(header=CLIENT_HEADER, hide_credentials=True),
    )


def _told_of(client: DoorClient) -> str:
    """Return what the next filter is told of a key: its id, and a limit if any."""
    limit = client.requests_per_minute
    return f"{client.client}{LIMIT_SIGN}{limit}" if limit else client.client


def _scopes(known: DoorClients, aliases: Mapping[str, tuple[str, ...]], rest_paths: tuple[str, ...]) -> rbac_pb2.RBAC:
    """Return what lets a request on to its model, or answers 403.

    The model's header is the filters' own: where it is missing no model was named, and the routes answer that.
    """
    owners = {alias: model for model, names in aliases.items() for alias in names}
    allowed = {each.client: _models(each, aliases, owners) for each in known.clients if each.may_infer}
    if not known.required:
        allowed[ANONYMOUS] = _verdict(policy_pb2.RBAC.Action.ALLOW)
    # A tree must not be empty: no client has this name.
    clients = _tree(CLIENT_HEADER, {"\n": _verdict(policy_pb2.RBAC.Action.DENY)})
    begins = "|".join(re.escape(path.rstrip("/")) for path in rest_paths)
    own = [matching.when_header(":path", f"(?:{begins})(?:[/?].*)?", _verdict(policy_pb2.RBAC.Action.ALLOW))]
    named = matching.when_header(MODEL_HEADER, "(?s).+", matching.nested(clients))
    matcher = matching.first_of(*(own if rest_paths else []), named)
    matcher.on_no_match.CopyFrom(_verdict(policy_pb2.RBAC.Action.ALLOW))
    found = rbac_pb2.RBAC(matcher=matcher)
    # Thousands of entries are filled in where they stand in the end: each message around them would copy them once more.
    entries = found.matcher.matcher_list.matchers[-1].on_match.matcher.matcher_tree.exact_match_map.map
    for client, verdict in allowed.items():
        entries[client].CopyFrom(verdict)
    return found


def _models(
    client: DoorClient, aliases: Mapping[str, tuple[str, ...]], owners: Mapping[str, str]
) -> matcher_pb2.Matcher.OnMatch:
    """Return what lets a key on to its models, by whatever name they have.

    An id that nobody has may be another model's alias, which is what a request by it reaches then: that is not the key's.
    """
    if not client.models:
        return _verdict(policy_pb2.RBAC.Action.ALLOW)
    own = [model for model in client.models if owners.get(model, model) in client.models]
    return _for_models((*own, *(alias for model in client.models for alias in aliases.get(model, ()))))


@lru_cache(maxsize=MAX_SCOPES_KEPT)
def _for_models(names: tuple[str, ...]) -> matcher_pb2.Matcher.OnMatch:
    """Return what lets requests on to some models.

    It is copied into whatever holds it, so it is made once.
    """
    allow = _verdict(policy_pb2.RBAC.Action.ALLOW)
    return matching.nested(_tree(MODEL_HEADER, dict.fromkeys(names, allow)))


def _tree(header: str, entries: dict[str, matcher_pb2.Matcher.OnMatch]) -> matcher_pb2.Matcher:
    """Return a look-up by a header; what is not there is denied."""
    names = matcher_pb2.Matcher.MatcherTree.MatchMap(map=entries)
    tree = matcher_pb2.Matcher.MatcherTree(input=_input(header), exact_match_map=names)
    return matcher_pb2.Matcher(matcher_tree=tree, on_no_match=_verdict(policy_pb2.RBAC.Action.DENY))


_input: Final = lru_cache(maxsize=2)(matching.header_input)


@lru_cache(maxsize=2)
def _verdict(action: policy_pb2.RBAC.Action.ValueType) -> matcher_pb2.Matcher.OnMatch:
    name = policy_pb2.RBAC.Action.Name(action).lower()
    return matching.action(name, policy_pb2.Action(name=name, action=action))


def _limits(known: DoorClients) -> local_rate_limit_pb2.LocalRateLimit:
    limits = {*known.limits, *(each.requests_per_minute for each in known.clients)} - {0}
    # Off it passes requests over at once.
    part = _ALL if limits else _NONE
    enabled = base_pb2.RuntimeFractionalPercent(default_value=part, runtime_key=_UNSET)
    # A request without one of them has no limit.
    by_header = route_components_pb2.RateLimit.Action.RequestHeaders
    headers = (
        by_header(header_name=CLIENT_HEADER, descriptor_key=_CLIENT),
        by_header(header_name=LIMIT_HEADER, descriptor_key=_LIMIT),
    )
    actions = [route_components_pb2.RateLimit.Action(request_headers=header) for header in headers]
    return local_rate_limit_pb2.LocalRateLimit(
        stat_prefix="echoplane_keys",
        filter_enabled=enabled,
        filter_enforced=enabled,
        descriptors=map(_limit, sorted(limits)),
        # Of each limit; else 20, and a key whose bucket was put out would begin with a full one.
        max_dynamic_descriptors=wrappers_pb2.UInt32Value(value=MAX_ACTIVE_KEYS),
        rate_limits=[route_components_pb2.RateLimit(actions=actions)],
        rate_limited_as_resource_exhausted=True,
        enable_x_ratelimit_headers=rls_pb2.XRateLimitHeadersRFCVersion.DRAFT_VERSION_03,
    )


def _limit(many: int) -> rls_pb2.LocalRateLimitDescriptor:
    """Return the buckets of all keys with a limit.

    An entry without a value has one for each value.
    """
    entry = rls_pb2.RateLimitDescriptor.Entry
    return rls_pb2.LocalRateLimitDescriptor(
        entries=[entry(key=_CLIENT), entry(key=_LIMIT, value=str(many))],
        token_bucket=token_bucket_pb2.TokenBucket(
            max_tokens=many,
            tokens_per_fill=wrappers_pb2.UInt32Value(value=many),
            fill_interval=duration_pb2.Duration(seconds=_MINUTE_S),
        ),
    )
