"""Addresses with a scheme, and what a client dials."""

from __future__ import annotations

import pytest

from echoplaned.core.endpoints import (
    Endpoint,
    EndpointProtocol,
    oip_endpoint,
    oip_target,
    openai_endpoint,
    tcp_endpoint,
)

OIP, OPENAI = EndpointProtocol.OIP_GRPC, EndpointProtocol.OPENAI_HTTP


@pytest.mark.parametrize(
    ("address", "target", "is_tcp"),
    [
        ("tcp://127.0.0.1:5200", "127.0.0.1:5200", True),
        ("tcp://[::1]:5200", "[::1]:5200", True),
        ("unix:/run/engine.sock", "unix:/run/engine.sock", False),
    ],
)
def test_a_target_is_what_a_client_dials(address: str, target: str, *, is_tcp: bool) -> None:
    """TCP loses its scheme, a socket keeps it, as gRPC writes both."""
    endpoint = Endpoint(OIP, address)
    assert (endpoint.target, endpoint.is_tcp) == (target, is_tcp)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:5200", "tcp://127.0.0.1", "tcp://:80", "tcp://a:b", "unix:x", "http://a:1"]
)
def test_an_address_without_a_known_scheme_is_refused(address: str) -> None:
    """What cannot be dialled makes no endpoint."""
    with pytest.raises(ValueError, match="not tcp://HOST:PORT or unix:/PATH"):
        Endpoint(OIP, address)


def test_the_oip_endpoint_is_found_among_others() -> None:
    """The protocol decides, not the place; without one there is no target."""
    openai, oip = tcp_endpoint(OPENAI, "127.0.0.1:1"), tcp_endpoint(OIP, "127.0.0.1:2")
    assert oip_endpoint((openai, oip)) == oip
    assert oip_target((openai, oip)) == "127.0.0.1:2"
    assert (oip_endpoint((openai,)), oip_target(())) == (None, "")
    assert (openai_endpoint((oip, openai)), openai_endpoint((oip,))) == (openai, None)
