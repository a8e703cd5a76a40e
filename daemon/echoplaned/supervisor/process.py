"""The engine's process and everything that it starts.

They are born as our child with our mark, and ended in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from echoplaned.worker_contract.family import Family, end_family, find_members
from echoplaned.worker_contract.mark import VARIABLE
from echoplaned.worker_contract.record import read_start_ticks

_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_REAP_EVERY_S: Final = 1.0
_END_TIMEOUT_S: Final = 10.0
_MAX_DESCRIPTORS: Final = 65_536
_GIVEN_DESCRIPTORS: Final = resource.getrlimit(resource.RLIMIT_NOFILE)


def become_subreaper() -> None:
    """Inherit every orphan of the engine.

    Whoever loses its parent stays beneath this process.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def raise_descriptor_limit() -> None:
    """Let this process have as many files open as it may.

    Each call has a connection of its own to the engine, and 1,024 is what a process gets unless it asks. Its engine is left with what it
    would have had: one that waits with select(2) breaks beyond 1,024.
    """
    soft, hard = _GIVEN_DESCRIPTORS
    most = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def own_family() -> Family:
    """Return the processes of this supervisor's engine.

    These are those of its session, and those with its mark.
    """
    pid = os.getpid()
    leads = os.getsid(0) == pid  # where it was started by hand, the session is somebody else's
    return Family(pid if leads else 0, read_start_ticks(pid) or 0, os.environ.get(VARIABLE, ""))


class EngineProcess:
    """One engine that was started.

    Args:
        command: its command line.
        environment: all of its environment but the mark.
        on_output: called when its pipe has something to read; False: it has ended.
        on_exit: called once, with its exit code, or minus the signal that killed it.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_output: Callable[[int], bool],
        on_exit: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_exit = on_exit
        pipe, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(pipe, False)
        try:
            # In this session: whoever looks for the engine's processes finds them by it, also when this process has gone.
            self._child = subprocess.Popen(
                command,
                env={**environment, VARIABLE: os.environ.get(VARIABLE, "")},
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                cwd="/",
                umask=0o077,
            )
            resource.prlimit(self._child.pid, resource.RLIMIT_NOFILE, _GIVEN_DESCRIPTORS)
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(write_end)
        self._pipe = pipe
        self._pidfd = os.pidfd_open(self._child.pid)
        self._loop.add_reader(self._pipe, self._read)
        self._loop.add_reader(self._pidfd, self._exited)
        self._reaping = self._loop.call_later(_REAP_EVERY_S, self._reap)
        self._ended = asyncio.Event()
        self.code: int | None = None

    @property
    def pid(self) -> int:
        """The engine's first process."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been seen."""
        return self.code is None

    async def ends_within(self, timeout_s: float) -> bool:
        """Return whether its end is seen by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        return not self.is_alive

    def terminate(self) -> None:
        """Ask it to end."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    async def end(self, grace_s: float) -> None:
        """End the engine and all that it started.

        ``grace_s``: seconds after SIGTERM; 0: at once, as an engine that starts may swallow it.
        """
        if self.is_alive and grace_s > 0:
            self.terminate()
            await self.ends_within(grace_s)
        await asyncio.to_thread(end_family, own_family(), _END_TIMEOUT_S)
        self._reap_all()

    def _read(self) -> None:
        if not self._on_output(self._pipe):
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _exited(self) -> None:
        code = self._child.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._reaping.cancel()
        self.code = code
        self._ended.set()
        # What it wrote last is in the pipe still, and says why it ended; a grandchild may hold the other end for ever.
        for _ in range(16):
            if self._pipe < 0:
                break
            self._read()
        self._on_exit(code)

    def _reap(self) -> None:
        """Collect orphans that this process has inherited, now and again.

        They leave a zombie each.
        """
        self._reap_all()
        if self.is_alive:
            self._reaping = self._loop.call_later(_REAP_EVERY_S, self._reap)

    def _reap_all(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or (found.si_pid == self._child.pid and self.is_alive):
                return  # the engine itself is collected where its end is told
            with contextlib.suppress(ChildProcessError):
                os.waitpid(found.si_pid, os.WNOHANG)


def family_pids() -> tuple[int, ...]:
    """Return every process of the engine, and this one. Blocking."""
    return (os.getpid(), *(one.pid for one in find_members(own_family())))
