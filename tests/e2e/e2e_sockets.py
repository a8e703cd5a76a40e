"""Make a live process refuse connections, without a firewall: take its listening socket and shut it down."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from collections.abc import Collection

import psutil
import pytest

from tests.e2e import e2e_system as e

_QUIET_ROUNDS = 5
_ROUND_S = 0.1
_PIDFD_GETFD = 438  # the same number on every architecture; Linux >= 5.6


def refuse_connections(pid: int, port: int, spared_pids: Collection[int]) -> None:
    """Close a process' listening port and every connection to it but those of some processes; it goes on running."""
    worker = psutil.Process(pid)
    spared = {
        connection.laddr.port
        for each in spared_pids
        for connection in psutil.Process(each).net_connections("tcp")
        if connection.raddr and connection.raddr.port == port
    }
    for connection in worker.net_connections("tcp"):
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            _shut(pid, connection.fd)
    quiet_rounds = 0
    while quiet_rounds < _QUIET_ROUNDS:  # what was accepted a moment before the port closed shows up a moment later
        found = [
            connection
            for connection in worker.net_connections("tcp")
            if connection.laddr.port == port and connection.raddr and connection.raddr.port not in spared
        ]
        for connection in found:
            _shut(pid, connection.fd)
        quiet_rounds = 0 if found else quiet_rounds + 1
        e.pause(_ROUND_S)


def _shut(pid: int, descriptor: int) -> None:
    """Shut another process' socket down; one that has gone meanwhile is shut."""
    if descriptor < 0:
        return
    with _taken(pid, descriptor) as taken, contextlib.suppress(OSError):
        taken.shutdown(socket.SHUT_RDWR)


def _taken(pid: int, descriptor: int) -> socket.socket:
    """Return another process' socket; skip the test where the kernel does not hand it out."""
    pidfd = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        found = libc.syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
        if found < 0:
            number = ctypes.get_errno()
            if number in (errno.EPERM, errno.ENOSYS):
                pytest.skip(f"another process' sockets cannot be had here: {os.strerror(number)}")
            raise OSError(number, os.strerror(number))
    finally:
        os.close(pidfd)
    return socket.socket(fileno=found)
