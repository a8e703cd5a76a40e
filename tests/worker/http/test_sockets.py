"""The socket that a worker speaks HTTP on."""

from __future__ import annotations

import socket
import stat
import tempfile
from pathlib import Path

import pytest

from echoplaned.worker.http.sockets import MAX_PATH_BYTES, WorkerSocketPathError, open_socket


def test_it_is_for_this_user_and_replaces_what_was_left() -> None:
    """Mode 0600, callers can connect before anybody serves; one that a killed worker left is no hindrance."""
    with tempfile.TemporaryDirectory(prefix="s-") as directory:
        path = Path(directory) / "w.sock"
        open_socket(path).close()
        with open_socket(path) as listening, socket.socket(socket.AF_UNIX) as caller:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            caller.connect(str(path))
            assert listening.getsockname() == str(path)


def test_a_path_that_is_too_long() -> None:
    """It is refused before the kernel would, with its length."""
    path = Path("/tmp") / ("d" * (MAX_PATH_BYTES - 5))
    assert len(str(path)) == MAX_PATH_BYTES
    with pytest.raises(WorkerSocketPathError, match="100 bytes"):
        open_socket(path)
