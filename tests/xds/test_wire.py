"""Responses as bytes: a body is made once, and a nonce follows it."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.names import ResourceType
from echoplaned.xds.subscriptions import Push
from echoplaned.xds.wire import Encoder
from tests.xds import xds_harness as h

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
ONE = h.routes("m", 1, v1=(TOTAL, ["127.0.0.1:7001"]))


def test_bodies_that_one_client_made_up_are_not_remembered() -> None:
    """A response to thousands of unknown names is encoded and forgotten: its like comes from nobody else."""
    encoder = Encoder()
    for number in range(50):
        removed = tuple(f"made-up-{number}-{index}" for index in range(1000))
        encoder.encode(Push(CDS, "1", (), removed, {}), delta=True)
    assert encoder._bodies == {}
    encoder.encode(Push(CDS, "1", (), ("gone",), {}), delta=True)
    assert len(encoder._bodies) == 1


def test_a_nonce_follows_a_body_that_is_made_once() -> None:
    """Two streams get the same body with their own nonces, and both read as whole messages."""
    resource = snapshots.build({"m": ONE}).get(CDS, "models/m/versions/v1")
    assert resource is not None
    encoder = Encoder()
    for nonce in ("1", "22"):
        push = Push(CDS, nonce, (resource,), ("gone",), {})
        sotw = discovery_pb2.DiscoveryResponse.FromString(encoder.encode(push, delta=False))
        assert (sotw.nonce, sotw.version_info, sotw.type_url) == (nonce, resource.version, str(CDS))
        assert sotw.resources[0].value == resource.payload
        delta = discovery_pb2.DeltaDiscoveryResponse.FromString(encoder.encode(push, delta=True))
        assert (delta.nonce, list(delta.removed_resources)) == (nonce, ["gone"])
        assert (delta.resources[0].name, delta.resources[0].version) == (resource.name, resource.version)
        assert delta.resources[0].resource.value == resource.payload
    with pytest.raises(ValueError, match="nonce"):
        encoder.encode(Push(CDS, "9" * 200, (resource,), (), {}), delta=False)
