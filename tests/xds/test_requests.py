"""Requests as values: who asks, what is asked, and what is no request."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from echoplaned.core.text import is_clean
from echoplaned.xds.door.listener import DoorOptions, build_door_listener
from echoplaned.xds.names import ResourceType, parse_name
from echoplaned.xds.requests import (
    MAX_NAMES,
    MAX_REQUEST_BYTES,
    BadRequestError,
    parse,
    read_delta,
    read_node,
    read_sotw,
)
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest
from tests.xds.xds_calls import node

CDS, EDS, LDS, ECDS, RDS = ResourceType


ASKED = {"echoplane.gateway": {"address": "127.0.0.1", "port": 8080}}
"""What asked for the gateway's listener in earlier releases."""


def test_who_asks() -> None:
    """A node goes by its id, else by its address; Envoy takes no API listeners; nobody is served a listener for what it says."""
    assert read_node(node(), "ipv4:1.2.3.4:5").id == "ipv4:1.2.3.4:5"
    assert read_node(node(id="a", user_agent_name="gRPC Python"), "p").api_listeners
    assert not read_node(node(id="a", user_agent_name="envoy"), "p").api_listeners
    assert read_node(node(id="a", user_agent_name="envoy", metadata=ASKED), "p").listener is None


def test_everybody_on_the_gateways_socket_is_the_gateway() -> None:
    """Its listener goes with the socket, whatever the node says."""
    door = build_door_listener(DoorOptions("127.0.0.1", 8080))
    found = read_node(node(id="a"), "unix:", door)
    assert found.listener is door
    assert not found.api_listeners


def test_requests_are_read_as_they_are() -> None:
    """An error says NACK, whatever the version; types of others are none of ours."""
    message = discovery_pb2.DiscoveryRequest(type_url=str(CDS), resource_names=["a"], response_nonce="3")
    assert read_sotw(message) == SotwRequest(CDS, ("a",), "3", None)
    message.error_detail.SetInParent()
    assert read_sotw(message) == SotwRequest(CDS, ("a",), "3", "refused without a reason")
    assert read_sotw(discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/other")) is None
    delta = discovery_pb2.DeltaDiscoveryRequest(
        type_url=str(EDS),
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"a": "1"},
    )
    assert read_delta(delta) == DeltaRequest(EDS, ("a",), ("b",), {"a": "1"}, "", None)


UNCLEAN = ["a\nb", "\x1b[2J", "\x00", "a\u202eb", "\x9b", "\ufeff"]


@pytest.mark.parametrize(
    "names", [["x"] * (MAX_NAMES + 1), ["x" * 2000], [""], ["a b"], ["größe"], *([name] for name in UNCLEAN)]
)
def test_requests_have_limits(names: list[str]) -> None:
    """Too many names, too long a name, or one that is none, end the stream."""
    with pytest.raises(BadRequestError):
        read_sotw(discovery_pb2.DiscoveryRequest(type_url=str(CDS), resource_names=names))
    with pytest.raises(BadRequestError):
        read_delta(discovery_pb2.DeltaDiscoveryRequest(type_url=str(CDS), resource_names_subscribe=names))


@pytest.mark.parametrize("text", UNCLEAN)
def test_what_a_client_calls_itself_can_be_shown(text: str) -> None:
    """An id or agent with what cannot be seen is refused; the detail of a refusal, which has lines, is escaped."""
    for fields in ({"id": text}, {"id": "a", "user_agent_name": text}):
        with pytest.raises(BadRequestError):
            read_node(node(**fields), "p")
    message = discovery_pb2.DiscoveryRequest(type_url=str(CDS))
    message.error_detail.message = f"bad:{text}"
    request = read_sotw(message)
    assert request is not None
    assert request.error is not None
    assert is_clean(request.error)
    assert request.error.startswith("bad:")


def test_names_of_others_are_only_kept() -> None:
    """What can be no model's name is a name all the same: the client has other control planes too, and its stream goes on."""
    others = ["models/UPPER", "xdstp://a/b?c=d", "grpc/server?udpa.resource.listening_address=0.0.0.0:1", "x"]
    request = read_sotw(discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=others))
    assert request is not None
    assert request.names == tuple(others)
    assert all(parse_name(name) is None for name in [*others, "models/a/versions", "models/a/versions/", "models//x"])


def test_bytes_are_counted_before_they_are_parsed() -> None:
    """A request that is larger than any honest one is refused by its length alone."""
    with pytest.raises(BadRequestError, match="bytes"):
        parse(b"\xff" * (MAX_REQUEST_BYTES + 1), discovery_pb2.DiscoveryRequest.FromString)
