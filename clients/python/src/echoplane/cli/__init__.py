"""The command `echoplane`."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TextIO

from echoplane.cli.app import app
from echoplane.cli.session import note

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main() -> None:
    """Run the command; exits with 0 only when what was asked came true."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal may not have every character that we print (a sparkline, an ellipsis, somebody's text): better a ? than no answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except OSError as error:  # a closed pipe never comes here: Typer ends quietly there
        _drop_output(sys.stdout)
        note(f"error: {_where(error)}{error.strerror or error}")
        sys.exit(1)
    finally:
        _drop_output(sys.stderr)  # what does not go there shall not change the exit code


def _open_streams() -> None:
    """See to it that there is something to write to.

    Without stdout nothing is begun: whoever asks could not see what came of it. What goes to stderr may get lost.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # open as long as the process
    if sys.stdout is None:
        note("error: stdout is closed: there is nowhere to print the answer")
        sys.exit(1)


def _where(error: OSError) -> str:
    """Return what could not be read or written, as the start of a line."""
    if error.filename:
        return f"{error.filename}: "
    # Files of the command's own have a name: what has none, and is full, is stdout.
    return "stdout cannot be written: " if error.errno in _FULL else ""


def _drop_output(stream: TextIO) -> None:
    """Forget what a stream does not take.

    Python would try to write it once more at its end, and complain.
    """
    try:
        stream.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


__all__ = ["app", "main"]
