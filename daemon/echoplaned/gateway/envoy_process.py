"""One live Envoy, held by a pidfd: its pid cannot become another process's.

It is no child of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from echoplaned.gateway.records import EnvoyRecord
from echoplaned.worker_contract.record import read_boot_id, read_start_ticks


class EnvoyGoneError(Exception):
    """The process of a record has ended."""


class EnvoyProcess:
    """One live Envoy.

    Raises:
        EnvoyGoneError: it has ended already.
    """

    def __init__(self, record: EnvoyRecord) -> None:
        self.record = record
        try:
            self._pidfd = os.pidfd_open(record.pid)
        except (ProcessLookupError, ValueError, OSError) as error:
            raise EnvoyGoneError(f"process {record.pid} has gone") from error
        # Looked at after the pidfd is held, so that what is compared is what is held.
        if record.boot_id != read_boot_id() or read_start_ticks(record.pid) != record.start_ticks:
            os.close(self._pidfd)
            raise EnvoyGoneError(f"pid {record.pid} is another process now")
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._on_end)

    @property
    def alive(self) -> bool:
        """Whether its end has not been seen."""
        return not self._ended.is_set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; return whether it came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        return self._ended.is_set()

    def terminate(self) -> None:
        """End it without a drain."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def detach(self) -> None:
        """Watch it no more; it goes on."""
        if self.alive:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.set()

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set()
