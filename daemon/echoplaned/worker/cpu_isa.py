"""Asks the matrix library (oneDNN) which instruction set it computes with.

Only its own log says so.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

import torch

from echoplaned.core.cpu_isa import CpuIsa, isa_of_library

_STDOUT: Final = 1
_MARK: Final = "cpu,isa:"


def library_isa() -> CpuIsa:
    """Return the instruction set that the matrix library uses.

    UNKNOWN where it does not say. Call this before anything else has made the library write its log.

    The library writes its header once a process, to the C library's standard output: for the milliseconds of one tiny copy it goes
    to memory, and what is not the library's is written out again.
    """
    text = _captured(_make_it_log)
    line = next((line for line in text.splitlines() if _MARK in line), "")
    return isa_of_library(line.partition(_MARK)[2]) if line else CpuIsa.UNKNOWN


def _make_it_log() -> None:
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        torch.zeros(16, 16).to_mkldnn()


def _captured(write: Callable[[], None]) -> str:
    """Return what a callback writes to file descriptor 1.

    Empty where the system has no files in memory (``memfd_create``), or torch is built without oneDNN.
    """
    if not (hasattr(os, "memfd_create") and torch.backends.mkldnn.is_available()):
        return ""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    memory, kept = os.memfd_create("stdout"), os.dup(_STDOUT)
    try:
        os.dup2(memory, _STDOUT)
        try:
            write()
        finally:
            libc.fflush(None)
            os.dup2(kept, _STDOUT)
        text = os.pread(memory, os.fstat(memory).st_size, 0).decode("utf-8", errors="replace")
    finally:
        os.close(memory)
        os.close(kept)
    others = [line for line in text.splitlines(keepends=True) if not line.startswith("onednn_verbose")]
    if others:
        os.write(_STDOUT, "".join(others).encode())
    return text
