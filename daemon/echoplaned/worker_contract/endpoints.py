"""Where an instance answers, and what it speaks there. Standard library only, as the record is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

_SCHEMES: Final = ("tcp", "unix")


class Protocol(StrEnum):
    """What is spoken at an endpoint."""

    OIP_GRPC = "OIP_GRPC"
    """The Open Inference Protocol over gRPC."""
    OPENAI_HTTP = "OPENAI_HTTP"
    """OpenAI's API over HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of an instance.

    Attributes:
        protocol: what is spoken there.
        scheme: ``tcp`` or ``unix``.
        address: ``host:port``, or the path of a socket.
    """

    protocol: Protocol
    scheme: str
    address: str

    def __post_init__(self) -> None:
        if self.scheme not in _SCHEMES or not self.address:
            raise ValueError(f"an endpoint is tcp://HOST:PORT or unix:///PATH, not {self}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def target(self) -> str:
        """The name that gRPC dials."""
        return self.address if self.scheme == "tcp" else f"unix:{self.address}"

    @classmethod
    def parse(cls, protocol: str, url: str) -> Self:
        """Read what ``str`` wrote.

        Raises:
            ValueError: the protocol or the address is none.
        """
        scheme, _, address = url.partition("://")
        return cls(Protocol(protocol), scheme, address)


def grpc_endpoint(address: str) -> Endpoint:
    """Return the endpoint of OIP over gRPC at ``host:port``."""
    return Endpoint(Protocol.OIP_GRPC, "tcp", address)
