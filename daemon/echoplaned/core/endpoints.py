"""Addresses of an instance: one with a scheme for each protocol that it speaks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned.core.numbers import read_whole

_MAX_PORT: Final = 65535

_TCP = "tcp://"
_UNIX = "unix:"


class EndpointProtocol(StrEnum):
    """What is spoken at an endpoint."""

    OIP_GRPC = "OIP_GRPC"
    """The Open Inference Protocol over gRPC, with the worker's own services beside it."""
    OPENAI_HTTP = "OPENAI_HTTP"
    """OpenAI's REST API over HTTP/1.1."""
    OIP_HTTP = "OIP_HTTP"
    """The Open Inference Protocol's REST form over HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One protocol at one address of an instance.

    Attributes:
        protocol: what is spoken there.
        address: where, with its scheme: ``tcp://HOST:PORT`` (IPv6 in brackets) or ``unix:/PATH``.
    """

    protocol: EndpointProtocol
    address: str

    def __post_init__(self) -> None:
        """Refuse an address without a known scheme.

        Raises:
            ValueError: the address is neither ``tcp://HOST:PORT`` nor ``unix:/PATH``.
        """
        if self.address.startswith(_TCP):
            host, _, port = self.address.removeprefix(_TCP).rpartition(":")
            valid = bool(host) and read_whole(port, _MAX_PORT) is not None
        else:
            valid = self.address.startswith(f"{_UNIX}/")
        if not valid:
            raise ValueError(f"not tcp://HOST:PORT or unix:/PATH: {self.address!r:.100}")

    @property
    def target(self) -> str:
        """What a client dials: ``HOST:PORT``, or ``unix:/PATH`` as gRPC writes it."""
        return self.address.removeprefix(_TCP)

    @property
    def is_tcp(self) -> bool:
        """Whether it can be dialled from another machine, and announced over xDS."""
        return self.address.startswith(_TCP)


def tcp_endpoint(protocol: EndpointProtocol, target: str) -> Endpoint:
    """Return the endpoint at ``HOST:PORT``.

    Raises:
        ValueError: the target is not ``HOST:PORT``.
    """
    return Endpoint(protocol, f"{_TCP}{target}")


def oip_endpoint(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """Return the first endpoint that speaks the Open Inference Protocol, or None."""
    return next((each for each in endpoints if each.protocol is EndpointProtocol.OIP_GRPC), None)


def openai_endpoint(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """Return the first endpoint that speaks OpenAI's API; None: there is none."""
    return next((each for each in endpoints if each.protocol is EndpointProtocol.OPENAI_HTTP), None)


def oip_target(endpoints: Iterable[Endpoint]) -> str:
    """Return what a gRPC client of an instance dials; empty: it has no such endpoint."""
    found = oip_endpoint(endpoints)
    return "" if found is None else found.target
