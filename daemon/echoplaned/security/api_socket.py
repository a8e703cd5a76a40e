"""The daemon's own socket: whoever can open it is the daemon's user.

The whole API answers there, the keys included.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import grpc.aio

MAX_SOCKET_BYTES: Final = 107
"""Of a socket's path: unix(7) has room for 108 with the zero at its end."""

_OTHERS: Final = 0o177


def api_socket(state_dir: Path) -> Path | None:
    """Return where a state directory's socket is; None: the path is too long for one."""
    path = state_dir / "api.sock"
    return path if len(str(path).encode(errors="surrogateescape")) <= MAX_SOCKET_BYTES else None


def listen_privately(server: grpc.aio.Server, socket: Path) -> None:
    """Have a server listen on a socket that this user alone can open.

    That holds from its first moment on. What a daemon that was killed left there is replaced: the caller holds the state directory's lock.

    Raises:
        RuntimeError: it cannot be listened on.
    """
    socket.unlink(missing_ok=True)
    before = os.umask(_OTHERS)
    try:
        server.add_insecure_port(f"unix:{socket}")
    finally:
        os.umask(before)
    socket.chmod(0o600)
