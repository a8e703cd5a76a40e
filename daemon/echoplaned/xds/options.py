"""Options of the gRPC server that serves xDS beside the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KEEPALIVE_INTERVAL_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 10_000
MIN_CLIENT_PING_INTERVAL_MS = 10_000
MAX_PENDING_REQUESTS = 10_000
MAX_PENDING_REQUESTS_HARD = 20_000


@dataclass(frozen=True, slots=True)
class DoorFrame:
    """What the routes of the daemon's own gateway hold beside its models.

    Attributes:
        rest_paths: where the daemon's own REST paths begin.
        cors_origins: origins of web pages that may call models; ``*``: every one; empty: none.
    """

    rest_paths: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()


BARE_FRAME: Final = DoorFrame()
"""Nothing but models."""


def server_options() -> list[tuple[str, int]]:
    """Return the gRPC server options that an xDS server needs.

    They are for ``grpc.aio.server(options=...)``.

    - No port sharing: with it, a second daemon on the same port would start, and each would get half of the clients.
    - Keepalive both ways, so that a half-open client is gone within 40 s and stops counting as a subscriber.
    - Room for a burst of streams: the defaults (1,000, and 3,000 at most) refuse clients that all come back at once.
    """
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_CLIENT_PING_INTERVAL_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.server.max_pending_requests", MAX_PENDING_REQUESTS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_REQUESTS_HARD),
    ]
