"""Processes of ours, children or adopted: their identity, end and signals.

Adopted ones have outlived the daemon that made them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from echoplaned import process_files
from echoplaned.worker_contract.record import read_start_ticks
from echoplaned.worker_contract.signal_names import signal_name


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """How a process ended.

    Attributes:
        code: exit code, or minus the signal that killed it; None: not ours to know (adopted).
    """

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "its process has gone"
        if self.code < 0:
            return f"its process was killed by {signal_name(-self.code)}"
        return f"its process ended with exit code {self.code}"


class NoSuchProcessError(Exception):
    """The process has gone, or its pid is another process's now."""


class WatchedProcess:
    """One live process, held by a pidfd.

    Its pid cannot be mistaken for another process's, and its end wakes the event loop.

    Args:
        pid: the process, leader of its own session and process group.
        start_ticks: its start time as ``/proc/PID/stat`` has it; None: it was started just now by this process.
        spares_group: leave its group alone when it has ended: somebody else ends that, in an order.

    Raises:
        NoSuchProcessError: it has gone already.
    """

    def __init__(self, pid: int, start_ticks: int | None = None, *, spares_group: bool = False) -> None:
        self.pid = pid
        self._spares_group = spares_group
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise NoSuchProcessError(f"process {pid} has gone") from None
        # Looked at after the pidfd is held, so that what is compared is what is held.
        if start_ticks is not None and read_start_ticks(pid) != start_ticks:
            os.close(self._pidfd)
            raise NoSuchProcessError(f"pid {pid} is another process now")
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ExitInfo] = self._loop.create_future()
        self._listeners: list[Callable[[ExitInfo], None]] = []
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def alive(self) -> bool:
        """Whether its end has not been seen."""
        return not self._ended.done()

    def on_exit(self, listener: Callable[[ExitInfo], None]) -> None:
        """Call the listener once when the process has gone; soon, if it has already."""
        if self._ended.done():
            self._loop.call_soon(listener, self._ended.result())
        else:
            self._listeners.append(listener)

    async def wait(self) -> ExitInfo:
        """Return when the process has gone."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Ask the process to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process now, and it alone."""
        self._signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """End the process and everything in its group, now."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._signal(signal.SIGKILL)

    def raise_priority(self) -> bool:
        """Give the process the daemon's own priority.

        Its threads get it, and its session as a whole. Returns whether all of them have it now.

        Only a privileged user may take a thread's niceness back (``RLIMIT_NICE``, setpriority(2)). With autogrouping the session's
        niceness is the one that counts beside other sessions (sched(7)), and anybody may take that of his own back to 0.
        """
        with contextlib.suppress(OSError):
            process_files.write_text(self.pid, "autogroup", "0")
        raised, own = True, os.getpriority(os.PRIO_PROCESS, 0)
        for thread in _threads(self.pid):
            try:
                if os.getpriority(os.PRIO_PROCESS, thread) > own:
                    os.setpriority(os.PRIO_PROCESS, thread, own)
            except ProcessLookupError:
                continue  # it has ended
            except PermissionError:
                raised = False
        return raised

    def detach(self) -> None:
        """Stop watching; the process goes on."""
        if self.alive:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _reap(self) -> None:
        """The pidfd became readable: the process has ended."""
        if not self._spares_group and _is_child(self._pidfd):
            # What it may have left in its group goes with it; its pid stays its own until it is reaped below.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._loop.remove_reader(self._pidfd)
        info = ExitInfo(_reap_child(self._pidfd))
        os.close(self._pidfd)
        self._ended.set_result(info)
        for listener in self._listeners:
            listener(info)


def _threads(pid: int) -> list[int]:
    """Return the threads of a process; none if it has gone."""
    try:
        return process_files.thread_ids(pid)
    except OSError:
        return []


def _is_child(pidfd: int) -> bool:
    """Say whether a process that has ended is ours to reap."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _reap_child(pidfd: int) -> int | None:
    """Collect a child's exit status; None where the process is no child of ours."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
