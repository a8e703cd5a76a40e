"""Progress of an operation on stderr.

One changing line on a terminal, a line for each change in a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from echoplane.cli.escaping import escape
from echoplane.cli.session import note
from echoplane.cli.telling import enum_word
from echoplane.cli.text import size
from echoplane.client import Client
from echoplane.googleapis import operations_pb2
from echoplane.operations import Completed, Progress
from echoplane.v1 import operations_pb2 as metadata_pb2

# A load reports its bytes often; in a pipe a line for each tenth is enough.
_STEPS = 10


def describe(metadata: metadata_pb2.OperationMetadata) -> str:
    """Return an operation's progress on one line."""
    phase = enum_word(metadata_pb2.OperationPhase, metadata.phase).lower().replace("_", " ")
    done = f", {size(metadata.done_bytes)} of {size(metadata.total_bytes)}" if metadata.total_bytes else ""
    waits = f", waits: {metadata.waiting_reason}" if metadata.waiting_reason else ""
    return escape(f"{metadata.target}: {phase or 'accepted'}{done}{waits}")


@contextmanager
def reporting() -> Iterator[Progress]:
    """Give a callback that shows an operation's progress."""
    if sys.stderr.isatty():
        with Console(stderr=True).status("waiting") as status:
            yield lambda metadata: status.update(Text(describe(metadata)))
        return
    seen: set[tuple[int, int, bool]] = set()

    def line(metadata: metadata_pb2.OperationMetadata) -> None:
        step = metadata.done_bytes * _STEPS // metadata.total_bytes if metadata.total_bytes else 0
        key = (metadata.phase, step, bool(metadata.waiting_reason))
        if key not in seen:
            seen.add(key)
            note(describe(metadata))

    yield line


def wait_shown(client: Client, operation: operations_pb2.Operation, timeout_s: float | None) -> Completed:
    """Wait for an operation and show its progress.

    Raises:
        EchoplaneError: it ended with an error, or not in time.
    """
    with reporting() as progress:
        return client.wait(operation, timeout_s, progress)
