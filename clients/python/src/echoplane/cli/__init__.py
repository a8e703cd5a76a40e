"""The command `echoplane`."""

from __future__ import annotations

from echoplane.cli.app import app


def main() -> None:
    """Run the command; exits with 0 only when what was asked came true."""
    app()


__all__ = ["app", "main"]
