"""Envoy's administration over its socket: state, drain, logs opened anew."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIVE: Final = "LIVE"
_STATES: Final = ("PRE_INITIALIZING", "INITIALIZING", "DRAINING", LIVE)
_HEADERS: Final = "host: admin\r\nconnection: close\r\ncontent-length: 0\r\n"
_TIMEOUT_S: Final = 5.0
_MAX_ANSWER_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EnvoyAdmin:
    """One Envoy's administration.

    Attributes:
        socket: its path; only this user may open it.
    """

    socket: Path

    async def state(self) -> str:
        """Return Envoy's own word for its state; empty: it does not answer.

        ``LIVE``, ``INITIALIZING``, ``PRE_INITIALIZING`` or ``DRAINING``.
        """
        body = await self._ask("GET", "/ready")  # in chunks, so that more than the word is in it
        return next((state for state in _STATES if state in body), "")

    async def drain(self) -> None:
        """Close the listeners and let what is under way come to its end."""
        await self._ask("POST", "/drain_listeners?graceful")

    async def reopen_logs(self) -> None:
        """Write to new files where the old ones were renamed."""
        await self._ask("POST", "/reopen_logs")

    async def _ask(self, method: str, path: str) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(f"{method} {path} HTTP/1.1\r\n{_HEADERS}\r\n".encode())
                    answer = await reader.read(_MAX_ANSWER_BYTES)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return ""
        return answer.partition(b"\r\n\r\n")[2].decode("utf-8", errors="replace")
