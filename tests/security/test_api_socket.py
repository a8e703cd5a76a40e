"""The daemon's own socket: its user's from the first moment on."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import grpc.aio

from echoplaned.security.api_socket import api_socket, listen_privately


def test_a_path_may_be_too_long() -> None:
    """A socket's path has 107 bytes; where there is no room there is no socket."""
    assert api_socket(Path("/run/e")) == Path("/run/e/api.sock")
    assert api_socket(Path("/", "x" * 97)) is not None
    assert api_socket(Path("/", "x" * 98)) is None
    assert api_socket(Path("/", "ü" * 49)) is None


async def test_it_is_private_and_replaces_what_was_left(tmp_path: Path) -> None:
    """What a killed daemon left is no obstacle, and nobody else opens the new one."""
    path = Path(tmp_path, "s")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = grpc.aio.server()
    listen_privately(server, path)
    await server.start()
    assert path.lstat().st_mode == stat.S_IFSOCK | 0o600  # noqa: ASYNC240 - a test may block
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        await channel.channel_ready()
    await server.stop(None)
