"""Whose share of a limit a call through the gateway counts for."""

from __future__ import annotations

from typing import Any, cast

import pytest

from echoplaned.core.door_headers import ANONYMOUS, CLIENT_HEADER, CONNECTION_HEADER
from echoplaned.rpc.rest.context import GatewayContext


class Call:
    """A call on the gateway's connection, with metadata."""

    def __init__(self, **metadata: str) -> None:
        self.metadata = tuple(metadata.items())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what came with it."""
        return self.metadata

    def peer(self) -> str:
        """Return the gateway's own connection."""
        return "unix:"


@pytest.mark.parametrize(
    ("metadata", "peer"),
    [
        ({CLIENT_HEADER: "alice", CONNECTION_HEADER: "10.0.0.1:5"}, "key/alice"),
        ({CLIENT_HEADER: ANONYMOUS, CONNECTION_HEADER: "127.0.0.1:5"}, "gateway:127.0.0.1:5"),
        ({CONNECTION_HEADER: "[::1]:5"}, "gateway:[::1]:5"),
        ({"x-forwarded-for": "10.0.0.1"}, "unix:"),
    ],
)
def test_a_share_is_a_keys_or_a_connections(metadata: dict[str, str], peer: str) -> None:
    """A key's on all its connections; a caller without one has that of its connection, and no header of its own changes it."""
    assert GatewayContext(cast(Any, Call(**metadata))).peer() == peer
