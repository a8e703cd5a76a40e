"""What Envoy needs to turn REST calls into calls of the daemon's gRPC services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAEMON_METHODS: Final = (
    *("ServerLive", "ServerReady", "ServerMetadata"),
    *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
)
"""The Open Inference Protocol's methods over gRPC that the daemon answers, as they are about no one model's engine."""


@dataclass(frozen=True, slots=True)
class TranscodedServices:
    """The gRPC services that the gateway answers REST calls with.

    Attributes:
        descriptor_set: a FileDescriptorSet of them, dependencies first.
        services: their full names.
        paths: where their REST paths begin; everything at and below each is sent to the daemon.
    """

    descriptor_set: bytes
    services: tuple[str, ...]
    paths: tuple[str, ...]
