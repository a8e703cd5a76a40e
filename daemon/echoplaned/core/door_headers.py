"""Headers by which the gateway tells the daemon and engines who calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

ANONYMOUS: Final = "anonymous"
"""Stands for every caller without a key, where the gateway asks for none; no key has this id."""

CLIENT_HEADER: Final = "x-echoplane-client"
"""Which key a request came with, by the key's id; the gateway sets it, and removes what a caller sent under this name."""

CONNECTION_HEADER: Final = "x-echoplane-connection"
"""The caller's end of the connection that a request came on, ``IP:PORT``; the gateway sets it as well."""

_MAX_CHARS: Final = 64


def caller_of(header: Callable[[str], str]) -> str:
    """Return whose share of a limit a call through the gateway counts for.

    That is the caller's key, as ``key/ID``; without one the caller's connection to the gateway, as ``gateway:IP:PORT``. Empty where the
    gateway names neither.

    Args:
        header: returns a header's value; empty: there is none.
    """
    client = header(CLIENT_HEADER)[:_MAX_CHARS]
    if client not in ("", ANONYMOUS):
        return f"key/{client}"
    connection = header(CONNECTION_HEADER)[:_MAX_CHARS]
    return f"gateway:{connection}" if connection else ""
