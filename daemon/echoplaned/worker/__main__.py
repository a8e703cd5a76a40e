"""Entry point of an embedded worker, ``python -m echoplaned.worker``.

It claims its record first and imports everything that is slow after that.
"""

from __future__ import annotations

import importlib
import os
import sys

from echoplaned.engine_kinds import embedded
from echoplaned.worker.log_filters import leave_out_enum_registrations
from echoplaned.worker_contract.arguments import EXIT_TAKEN, read_arguments
from echoplaned.worker_contract.record import RecordFile, RecordTakenError

# Nothing is ever fetched from a hub; tokenizers' own threads and progress bars only get in the way.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "RUST_BACKTRACE": "0",  # a text can make the tokenizer panic: a line in the log each, not a page
}


def main() -> int:
    """Run one worker and return its exit code.

    0: stopped as told. 2: bad arguments. 3: the id is taken. 70: its inference thread is lost.
    """
    arguments = read_arguments("One embedded engine, which leads itself.")
    try:
        record_file = RecordFile(arguments.state_dir, arguments.worker_id, embedded.NAME)
    except RecordTakenError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_TAKEN
    os.environ.update(_ENVIRONMENT)
    leave_out_enum_registrations()
    server = importlib.import_module("echoplaned.worker.server")
    try:
        code: int = server.serve(record_file, server.ServeOptions(arguments.listen, arguments.urgent))
    finally:
        record_file.release()
    return code


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    # A warm-up thread may be in the middle of importing native code, which does not survive the interpreter's own end.
    os._exit(exit_code)
