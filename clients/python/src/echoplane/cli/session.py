"""What every command shares: options, output, and how errors end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer
from google.protobuf.json_format import SerializeToJsonError
from google.protobuf.message import DecodeError
from typer.core import TyperGroup

from echoplane.cli.escaping import escape, escape_drawn
from echoplane.cli.text import error_lines
from echoplane.client import Client
from echoplane.errors import EchoplaneError
from echoplane.options import DEFAULT_ADDRESS


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="ECHOPLANE_ADDRESS",
        help="The daemon's HOST:PORT, or unix:/PATH of its socket.",
        metavar="HOST:PORT",
    ),
]
Format = Annotated[Output, typer.Option("--output", "-o", help="How to print the result.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0.0, help="Longest wait in seconds; left out: as long as it takes.")
]
DEFAULT_OUTPUT = Output.TABLE
__all__ = ["DEFAULT_ADDRESS", "DEFAULT_OUTPUT", "Address", "CommandError", "Commands", "Format", "Output", "Timeout"]


class CommandError(Exception):
    """What was asked did not come true, for a reason that is ours to explain.

    ``advice``: what to do.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class Commands(TyperGroup):
    """A group of commands whose errors become lines on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # Typer's own signature
        """Run a command."""
        try:
            return super().invoke(ctx)
        except EchoplaneError as error:
            fail(error_lines(error))
        except CommandError as error:
            fail([f"error: {error}", *([f"what to do: {error.advice}"] if error.advice else [])])
        except (ValueError, DecodeError, SerializeToJsonError) as error:
            # The last net, for an answer that nobody thought of: a traceback of ours helps nobody at a terminal.
            fail([f"error: {error}"])


def fail(lines: list[str]) -> NoReturn:
    """Write lines to stderr and exit with 1."""
    for line in lines:
        note(line)
    raise typer.Exit(1)


def note(line: str) -> None:
    """Write a line to stderr: progress, warnings, errors.

    It stays one line, whatever is in it. A stderr that does not take it (a full disk, a reader that left) changes nothing of what was
    asked: what is done is done, and its result is still to be printed.
    """
    with suppress(OSError):
        sys.stderr.write(f"{escape(line)}\n")
        sys.stderr.flush()


def say(line: str) -> None:
    """Write finished lines to stdout: results.

    Their parts that come from outside are escaped by whoever put them together.
    """
    sys.stdout.write(f"{escape_drawn(line)}\n")
    sys.stdout.flush()


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Give a client of the daemon at address."""
    with Client(address) as client:
        yield client
