"""Make a live process refuse connections, without a firewall: take its listening socket and shut it down."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Collection

import psutil
import pytest

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
        if connection.laddr.port == port and not (connection.raddr and connection.raddr.port in spared):
            with _taken(pid, connection.fd) as taken:
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
