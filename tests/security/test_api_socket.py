"""Where the daemon's own socket is."""

from __future__ import annotations

from pathlib import Path

from echoplaned.security.api_socket import api_socket


def test_a_path_may_be_too_long() -> None:
    """A socket's path has 107 bytes; where there is no room there is no socket."""
    assert api_socket(Path("/run/e")) == Path("/run/e/api.sock")
    assert api_socket(Path("/", "x" * 97)) is not None
    assert api_socket(Path("/", "x" * 98)) is None
    assert api_socket(Path("/", "ü" * 49)) is None
