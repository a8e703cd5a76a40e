"""The worker's own unix socket, bound before anything that is slow to import."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

MAX_PATH_BYTES: Final = 100
"""Of a unix socket's path: unix(7) has room for 107, and other leaders' sockets keep below this."""

_BACKLOG: Final = 256


class WorkerSocketPathError(Exception):
    """The state directory's path is too long for a socket beneath it."""


def open_socket(path: Path) -> socket.socket:
    """Return a bound unix socket that only this user can connect to.

    Whoever connects waits until it is served.

    Raises:
        WorkerSocketPathError: the path is too long.
        OSError: there can be no socket.
    """
    size = len(os.fsencode(path))
    if size >= MAX_PATH_BYTES:
        raise WorkerSocketPathError(f"{path} has {size} bytes, and a socket's path must be below {MAX_PATH_BYTES}")
    path.unlink(missing_ok=True)  # a worker that was killed leaves it
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Before anybody can connect; its directory is for this user alone as well.
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
