"""Is the gateway's address free, and does anybody answer there."""

from __future__ import annotations

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
