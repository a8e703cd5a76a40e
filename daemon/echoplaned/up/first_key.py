"""The first key, which ``up`` makes and prints once.

The gateway changes nothing for callers without one.
"""

from __future__ import annotations

from pathlib import Path

from echoplane import Client
from echoplane.options import socket_target
from echoplane.v1 import keys_pb2

_SOCKET = "api.sock"
_NAME = "echoplaned up"


def make_first_key(state_dir: Path) -> str:
    """Make an admin's key on the daemon's own socket, and return it.

    Empty: there are keys already, or the state directory's path is too long for a socket.

    Raises:
        EchoplaneError: the daemon makes none.
    """
    socket = state_dir / _SOCKET
    if not socket.is_socket():
        return ""
    with Client(socket_target(socket)) as client:
        if any(True for _ in client.list_keys()):
            return ""
        return client.create_key(keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_ADMIN, display_name=_NAME)).secret
