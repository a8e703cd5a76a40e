"""How the gateway's Envoy is run."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from echoplaned.addresses import MAX_SOCKET_PATH_BYTES

MIB: Final = 1024 * 1024
_LONGEST_NAME: Final = "hot_parent_4294967295"
"""Of the sockets in the gateway's directory: Envoy's own for hot restarts, with ten times the base id."""

_BASE_IDS: Final = 100_000_000
"""Envoy multiplies a base id by ten for the names in shared memory, and keeps it in 32 bits."""


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How the gateway's Envoy is run.

    Attributes:
        state_dir: the daemon's state directory.
        listening: ``HOST:PORT``, as status shows it.
        binary: Envoy's executable.
        version: of that executable.
        concurrency: worker threads; Envoy's own default is every core.
        max_connections: connections of callers at once; what is above gets no answer.
        max_heap_bytes: at 95 % of it Envoy gives memory back, at 98 % it takes no new request.
        drain_s: how long an Envoy that was replaced answers on its open connections.
        max_log_bytes: size at which a log file is put aside; one older one is kept.
    """

    state_dir: Path
    listening: str
    binary: Path
    version: str = ""
    concurrency: int = 2
    max_connections: int = 10_000
    max_heap_bytes: int = 1024 * MIB
    drain_s: float = 600.0
    max_log_bytes: int = 64 * MIB

    @property
    def folder(self) -> Path:
        """Where everything of the gateway lies but its logs."""
        return gateway_dir(self.state_dir)

    @property
    def base_id(self) -> int:
        """Number of Envoy's shared memory, derived from the state directory.

        A successor finds its predecessor by it, and no other daemon's Envoy.
        """
        seed = blake2b(str(self.state_dir).encode(errors="surrogateescape"), digest_size=8).digest()
        return 1 + int.from_bytes(seed) % _BASE_IDS


class SocketPathError(ValueError):
    """The state directory's path is too long for the sockets beneath it."""


class CertificateRefusedError(ValueError):
    """The files cannot serve as a server's certificate and key."""


def gateway_dir(state_dir: Path) -> Path:
    """Return the gateway's directory of a state directory."""
    return state_dir / "gateway"


def control_socket(state_dir: Path) -> Path:
    """Return the socket on which the daemon serves its own gateway, and nobody else.

    Raises:
        SocketPathError: its path would be too long for a socket.
    """
    longest = gateway_dir(state_dir) / _LONGEST_NAME
    if len(str(longest).encode(errors="surrogateescape")) > MAX_SOCKET_PATH_BYTES:
        raise SocketPathError(
            f"{longest} is longer than {MAX_SOCKET_PATH_BYTES} bytes, so no socket can be there: move --state-dir"
        )
    return gateway_dir(state_dir) / "control.sock"


def admin_socket(state_dir: Path, generation: int) -> Path:
    """Return the socket of one Envoy's administration."""
    return gateway_dir(state_dir) / f"admin-{generation}.sock"


def certificate_secret(state_dir: Path) -> Path:
    """Return the file with the gateway's certificate and key, which Envoy reads."""
    return gateway_dir(state_dir) / "certificate.json"


def access_log(state_dir: Path) -> Path:
    """Return the file with one JSON object a request."""
    return state_dir / "logs" / "gateway-access.log"


def application_log(state_dir: Path) -> Path:
    """Return the file of Envoy's own log, one JSON object a line."""
    return state_dir / "logs" / "gateway.log"
