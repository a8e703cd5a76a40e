"""The address that the gateway listens on: is it free, does anybody answer."""

from __future__ import annotations

import asyncio
import socket

_TIMEOUT_S = 2.0


class AddressTakenError(Exception):
    """The gateway's address cannot be listened on."""


def check_free(listening: str) -> None:
    """See whether an address can be listened on.

    Envoy would run without a listener, and share the port with another process that lets it.

    Raises:
        AddressTakenError: it cannot.
    """
    host, port = _split(listening)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:  # a kernel without IPv6 refuses here already
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        raise AddressTakenError(
            f"the gateway cannot listen on {listening}: {error}. --gateway-listen HOST:PORT takes another address"
        ) from error


async def is_answered(listening: str) -> bool:
    """Whether a connection to the address is taken."""
    host, port = _split(listening)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _split(listening: str) -> tuple[str, int]:
    host, _, port = listening.rpartition(":")
    return host.strip("[]"), int(port)
