"""What the gateway's filters are told of keys: three resources, each of which changes only where its own part does."""

from __future__ import annotations

from dataclasses import replace

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.api_key_auth.v3 import api_key_auth_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2

from echoplaned.core.door_headers import ANONYMOUS
from echoplaned.ports.door_clients import NOBODY, DoorClient, DoorClients
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.door.clients import build_extensions
from echoplaned.xds.door.names import KEYS, LIMITS, SCOPES
from echoplaned.xds.names import ResourceType
from echoplaned.xds.resources import Resource
from tests.xds import xds_harness as h

ONE = DoorClient("one", "ep_one_k", models=("m",), requests_per_minute=3)
ALL = DoorClient("all", "ep_all_k")
READER = DoorClient("reader", "ep_reader_k", may_infer=False)
REQUIRED = DoorClients((ALL, ONE, READER), required=True)


def config(resource: Resource) -> extension_pb2.TypedExtensionConfig:
    """Read a resource."""
    return extension_pb2.TypedExtensionConfig.FromString(resource.payload)


def scopes(resource: Resource) -> dict[str, set[str] | None]:
    """Return the models that each client may call; None: all."""
    rbac = rbac_pb2.RBAC.FromString(config(resource).typed_config.value)
    tree = rbac.matcher.matcher_list.matchers[-1].on_match.matcher.matcher_tree
    assert rbac.matcher.matcher_list.matchers[-1].on_match.matcher.on_no_match.action.name == "deny"
    found: dict[str, set[str] | None] = {}
    for client, entry in tree.exact_match_map.map.items():
        inner = entry.matcher
        if entry.action.name == "deny":
            continue
        assert not entry.HasField("matcher") or inner.on_no_match.action.name == "deny"
        found[client] = set(inner.matcher_tree.exact_match_map.map) if entry.HasField("matcher") else None
    return found


def test_each_filter_is_told_its_part() -> None:
    """Keys by their ids, models by id and alias, limits of those that have one; a reader calls no model."""
    found = build_extensions(REQUIRED, {"m": ("Org/M",)}, ("/api", "/health"))
    keys = api_key_auth_pb2.ApiKeyAuth.FromString(config(found[KEYS]).typed_config.value)
    told = {"all": ALL.key, "one/3": ONE.key, "reader": READER.key}
    assert {each.client: each.key for each in keys.credentials} == told, "an id, and a limit where there is one"
    assert keys.forwarding.hide_credentials
    assert scopes(found[SCOPES]) == {"all": None, "one": {"m", "Org/M"}}
    limits = local_rate_limit_pb2.LocalRateLimit.FromString(config(found[LIMITS]).typed_config.value)
    (only,) = limits.descriptors
    assert [(entry.key, entry.value) for entry in only.entries] == [("client", ""), ("limit", "3")]
    assert (only.token_bucket.max_tokens, only.token_bucket.fill_interval.seconds) == (3, 60)


def test_without_required_keys_anybody_may_call_models() -> None:
    """A caller without a key is one of the clients; where keys are required it is none."""
    found = build_extensions(DoorClients((ONE,)), {}, ())
    assert scopes(found[SCOPES]) == {"one": {"m"}, ANONYMOUS: None}
    nobody = build_extensions(DoorClients((), required=True), {}, ())
    assert ANONYMOUS not in scopes(nobody[SCOPES])
    keys = api_key_auth_pb2.ApiKeyAuth.FromString(config(nobody[KEYS]).typed_config.value)
    assert not keys.credentials


def test_a_new_key_leaves_the_limits_of_others() -> None:
    """Envoy counts anew where the limits change, so keys that come and go must not change them."""
    alike = replace(ONE, client="alike", key="ep_alike_k")
    found = [
        build_extensions(DoorClients(each, required=True, limits=limits), {}, ())
        for each, limits in (((ONE,), ()), ((ALL, ONE), ()), ((alike, ONE), (3,)), ((alike,), (3,)), ((), (3,)))
    ]
    assert len({each[LIMITS].version for each in found}) == 1, "made, revoked, one like it or another: the numbers stay"
    assert len({each[KEYS].version for each in found}) == len(found)
    other = build_extensions(DoorClients((replace(ONE, requests_per_minute=4),), limits=(3,)), {}, ())
    assert other[LIMITS].version != found[0][LIMITS].version


def test_an_id_that_another_model_has_as_its_alias_is_not_the_keys() -> None:
    """A request by that name reaches the other model: the key may call it only where it is for that one too."""
    both = replace(ONE, client="both", key="ep_both_k", models=("x", "m"))
    x = replace(ONE, client="x", key="ep_x_k", models=("x", "n"))
    old = snapshots.with_clients(snapshots.EMPTY, DoorClients((x, both), required=True))
    routes = h.routes("m", 1, v1=(1_000_000, ["127.0.0.1:7001"]))
    named = snapshots.with_model(old, replace(routes, aliases=("x",)))
    renamed = snapshots.with_model(named, replace(routes, epoch=2, aliases=("other",)))
    for snapshot, own in ((old, {"x", "n"}), (named, {"n"}), (renamed, {"x", "n"})):
        found = snapshot.get(ResourceType.EXTENSION, SCOPES)
        assert found is not None
        assert scopes(found)["x"] == own
        assert {"x", "m"} <= (scopes(found)["both"] or set())


def test_aliases_follow_their_model() -> None:
    """A model's new alias changes the scopes of keys that are for it; a change of weights changes nothing."""
    old = snapshots.with_clients(snapshots.EMPTY, REQUIRED)
    routes = h.routes("m", 1, v1=(1_000_000, ["127.0.0.1:7001"]))
    without = snapshots.with_model(old, routes)
    named = snapshots.with_model(without, replace(routes, epoch=2, aliases=("Org/M",)))
    assert snapshots.diff(old, without).changed[ResourceType.EXTENSION] == frozenset()
    assert snapshots.diff(without, named).changed[ResourceType.EXTENSION] == {SCOPES}
    found = named.get(ResourceType.EXTENSION, SCOPES)
    assert found is not None
    assert scopes(found)["one"] == {"m", "Org/M"}
    other = snapshots.with_model(named, h.routes("n", 3, v1=(1_000_000, ["127.0.0.1:7002"])))
    assert snapshots.diff(named, other).changed[ResourceType.EXTENSION] == frozenset()
    assert snapshots.with_clients(other, NOBODY).get(ResourceType.EXTENSION, KEYS) is not None
