"""`echoplane key` finds the daemon's socket; what it makes and shows is tested with the real daemon in ``tests/e2e/test_keys.py``."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from echoplane.cli import app
from echoplane.cli.keys import SOCKET_NAME, local_address
from echoplane.cli.session import CommandError


def test_a_socket_is_taken_as_it_is() -> None:
    """An address that is a socket is the one to call, wherever the state directory is."""
    assert local_address("unix:/run/e.sock", Path("/nowhere")) == "unix:/run/e.sock"


def test_the_state_directory_has_one() -> None:
    """Without such an address it is the state directory's, whatever HOST:PORT the environment names."""
    with tempfile.TemporaryDirectory(prefix="ep-") as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(Path(folder, SOCKET_NAME)))
        for address in ("", "127.0.0.1:8470"):
            assert local_address(address, Path(folder)) == f"unix:{folder}/{SOCKET_NAME}"


def test_no_daemon_is_told(tmp_path: Path) -> None:
    """Where there is no socket the command says what to name, and makes nothing."""
    with pytest.raises(CommandError, match="there is no socket"):
        local_address("", tmp_path)
    answer = CliRunner().invoke(app, ["key", "create", "--state-dir", str(tmp_path)])
    assert answer.exit_code == 1
    assert "--state-dir" in answer.output


def test_a_path_that_is_no_uri_is_dialled_as_it_is() -> None:
    """A ``#`` ended the path to gRPC, and the call waited for a socket that is not there."""
    with tempfile.TemporaryDirectory(prefix="a#b%41 ") as folder, socket.socket(socket.AF_UNIX) as there:
        there.bind(str(Path(folder, SOCKET_NAME)))
        target = local_address("", Path(folder))
    assert unquote(target) == f"unix:{folder}/{SOCKET_NAME}"
    assert "#" not in target
    assert "%2541" in target
