"""What accelerate's estimator (``accelerate estimate-memory``) expects of configs; in the peers' own environment, one line of JSON a model.

python accelerate_sizes.py DIRECTORY...

The command asks the hub whether the model exists before it reads the config; that one question is answered here, the rest is its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from argparse import Namespace
from types import SimpleNamespace

from accelerate.commands import estimate

REPEATS = 5


def sizes(directory: str) -> dict[str, object]:
    """Return bytes of weights in 16 bit, or the error, and the seconds."""
    estimate.verify_on_hub = lambda *_: SimpleNamespace(config={}, library_name="transformers")
    asked = Namespace(model_name=directory, library_name="transformers", trust_remote_code=False, dtypes=["float16"])
    began = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ((_, _, total, _),) = estimate.gather_data(asked)
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"weight_bytes": int(total), "kv_bytes": None, "seconds": time.perf_counter() - began, "error": ""}


def main(*directories: str) -> None:
    """Answer for each directory: the quickest of several rounds."""
    for directory in directories:
        record = min((sizes(directory) for _ in range(REPEATS)), key=lambda found: found.get("seconds", 0))
        print(json.dumps({"file": directory, **record}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
