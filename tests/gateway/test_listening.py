"""Is the gateway's address free, and does anybody answer there."""

from __future__ import annotations

import errno
import socket

import pytest

from echoplaned.gateway.listening import AddressTakenError, check_free, is_answered


async def test_a_taken_address_is_told() -> None:
    """Where another process listens, it is taken; where nobody does, it is free, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(AddressTakenError, match=taken):
            check_free(taken)
        assert await is_answered(taken)
    check_free(taken)
    assert not await is_answered(taken)


def test_a_kernel_without_the_family_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where IPv6 is off the socket itself is refused, and the daemon ended with a traceback."""

    def refuse(_family: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(AddressTakenError, match="Address family not supported"):
        check_free("[::1]:8480")
