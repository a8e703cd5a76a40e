"""The command `echoplane`."""

from __future__ import annotations

import io
import sys

from echoplane.cli.app import app


def main() -> None:
    """Run the command; exits with 0 only when what was asked came true."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal may not have every character that we print (a sparkline, an ellipsis, somebody's text): better a ? than no answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


__all__ = ["app", "main"]
