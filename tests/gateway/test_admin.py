"""Envoy's administration: the word is found in its answer, and silence is no state."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from echoplaned.gateway.admin import EnvoyAdmin


@pytest.mark.parametrize("state", ["LIVE", "INITIALIZING", "PRE_INITIALIZING", "DRAINING"])
async def test_the_state_is_read_from_chunks(state: str) -> None:
    """The body comes in chunks, with a status that says the same less precisely."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /ready HTTP/1.1\r\n")
        body = f"{len(state) + 1:x}\r\n{state}\n\r\n0\r\n\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}".encode())
        writer.close()

    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        path = Path(folder) / "admin.sock"
        async with await asyncio.start_unix_server(answer, path):
            assert await EnvoyAdmin(path).state() == state


async def test_nobody_has_no_state(tmp_path: Path) -> None:
    """Where no socket is, or nobody listens at it, there is no state, and orders do nothing."""
    admin = EnvoyAdmin(tmp_path / "admin.sock")
    assert await admin.state() == ""
    await admin.drain()
    await admin.reopen_logs()
