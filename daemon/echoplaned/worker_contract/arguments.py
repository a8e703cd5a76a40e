"""The command line that every leader is started with.

Standard library only, as the record is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.worker_contract.record import check_worker_id

EXIT_TAKEN: Final = 3
"""Exit code of a leader whose id another live process holds."""


@dataclass(frozen=True, slots=True)
class LeaderArguments:
    """What the daemon gives a leader.

    Attributes:
        worker_id: leader's id, for its record.
        state_dir: the daemon's state directory.
        listen: address to listen on, ``host:port``; port 0: any.
        urgent: whether somebody waits for the leader to be on standby.
        engine: ``NAME=PREFIX`` of the engine that it leads; empty: it leads itself.
    """

    worker_id: str
    state_dir: Path
    listen: str
    urgent: bool
    engine: str = ""


def read_arguments(description: str, arguments: Sequence[str] | None = None) -> LeaderArguments:
    """Read the command line that every leader is started with.

    Ends the process with code 2 where it is wrong.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--worker-id", required=True, help="lower-case letters, digits and dashes; also in the record's name"
    )
    parser.add_argument("--state-dir", required=True, type=Path, help="the daemon's state directory")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port, port 0 for any")
    parser.add_argument("--urgent", action="store_true", help="get ready at normal priority: a load waits for it")
    parser.add_argument("--engine", default="", help="NAME=PREFIX of the engine to lead, as in the daemon's settings")
    given = parser.parse_args(arguments)
    try:
        worker_id = check_worker_id(given.worker_id)
    except ValueError as error:
        parser.error(str(error))
    return LeaderArguments(worker_id, given.state_dir, given.listen, given.urgent, given.engine)
