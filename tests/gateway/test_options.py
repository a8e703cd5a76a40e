"""Where the gateway's things lie, and the number of its shared memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.gateway.options import GatewayOptions, SocketPathError, control_socket


def options(state_dir: str) -> GatewayOptions:
    """Make options of a state directory."""
    return GatewayOptions(Path(state_dir), "127.0.0.1:80", Path("/bin/envoy"))


def test_base_ids_are_of_the_directory() -> None:
    """The same directory has the same number in every process, another one another, and tenfold it fits into 32 bits."""
    assert options("/a").base_id == options("/a").base_id
    assert options("/a").base_id != options("/b").base_id
    assert 0 < options("/a").base_id * 10 < 2**32


def test_a_long_path_is_refused() -> None:
    """A socket's path has a bound, which is told with what to do."""
    with pytest.raises(SocketPathError, match="--state-dir"):
        control_socket(Path("/" + "x" * 100))
