"""Whose share of the limits a call counts for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

# A call is a task of its own with a context of its own: what is set there ends with it.
_PEER: Final = ContextVar("peer", default="")


def current_peer() -> str:
    """Return the connection that calls, or ``key/ID``; empty: no call."""
    return _PEER.get()


def set_peer(peer: str) -> None:
    """Say whose share this call counts for."""
    _PEER.set(peer)
