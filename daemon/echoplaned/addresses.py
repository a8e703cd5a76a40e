"""Addresses to listen on, and what one needs that other machines reach."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Self

MAX_SOCKET_PATH_BYTES: Final = 107
"""Of a unix socket's path: unix(7) has room for 108 with the zero at its end."""

LOOPBACK_ONLY: Final = (
    "is not loopback: only 127.0.0.1, [::1] and localhost are served, as there is no TLS here yet; other machines come in by the"
    " gateway, --gateway-listen"
)
"""Of the addresses of the API and of the metrics."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on, written ``host:port``.

    Attributes:
        host: IP address, an IPv6 one without its brackets.
        port: TCP port, 0 to 65535; 0: any that is free.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether processes of this machine alone can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``127.0.0.1:8470``, ``[::1]:8470`` or ``localhost:8470``.

        Raises:
            ValueError: it is not of this form.
        """
        if text.startswith("unix:"):
            raise ValueError("unix sockets are not served yet: give a loopback HOST:PORT")
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
            raise ValueError("is not HOST:PORT with a port from 0 to 65535")
        bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        try:
            address = ipaddress.ip_address("127.0.0.1" if bare == "localhost" else bare)
        except ValueError:
            raise ValueError("has a host that is neither an IP address nor localhost") from None
        if (address.version == 6) != host.startswith("["):
            raise ValueError("writes an IPv6 address in brackets, and only that: [::1]:8470")
        return cls(str(address), int(port))


def missing_for_others(*, tls: bool, keys: bool) -> str:
    """Say what an address lacks before other machines may reach it; empty: nothing.

    Without TLS everybody on the way reads along and takes a key; without keys everybody is served.
    """
    if tls and keys:
        return ""
    flags = (("--gateway-tls-dir DIR", tls), ("--gateway-keys required", keys))
    missing = " and ".join(flag for flag, given in flags if not given)
    return (
        f"is not loopback, so that other machines could call it: add {missing}; it needs both --gateway-tls-dir DIR (`echoplaned pki`"
        " makes a certificate) and --gateway-keys required"
    )
