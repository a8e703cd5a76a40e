"""``python -m echoplaned.worker``: claims its record first, then imports everything that is slow."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from echoplaned.engines.record import RecordKeeper, RecordTakenError, check_worker_id
from echoplaned.worker.quiet import leave_out_enum_registrations

_EXIT_TAKEN = 3

# Nothing is ever fetched from a hub; tokenizers' own threads and progress bars only get in the way.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def main() -> int:
    """Run one worker; return its exit code: 0 stopped as told, 2 bad arguments, 3 the id is taken, 70 lost its inference thread."""
    parser = argparse.ArgumentParser(prog="echoplaned.worker", description="One embedded torch engine.")
    parser.add_argument(
        "--worker-id", required=True, help="lower-case letters, digits and dashes; also in the record's name"
    )
    parser.add_argument("--state-dir", required=True, type=Path, help="the daemon's state directory")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port, port 0 for any")
    parser.add_argument("--urgent", action="store_true", help="warm up at normal priority: a load waits for it")
    arguments = parser.parse_args()
    try:
        keeper = RecordKeeper(arguments.state_dir, check_worker_id(arguments.worker_id))
    except ValueError as error:
        parser.error(str(error))
    except RecordTakenError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_TAKEN
    os.environ.update(_ENVIRONMENT)
    leave_out_enum_registrations()
    server = importlib.import_module("echoplaned.worker.server")
    try:
        code: int = server.serve(keeper, server.ServeOptions(arguments.listen, arguments.urgent))
    finally:
        keeper.release()
    return code


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    # A warm-up thread may be in the middle of importing native code, which does not survive the interpreter's own end.
    os._exit(exit_code)
