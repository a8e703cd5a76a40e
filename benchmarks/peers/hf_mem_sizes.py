"""What hf-mem expects of checkpoints on this machine; runs in the peers' own environment, one line of JSON a model.

python hf_mem_sizes.py CONTEXT SEQUENCES DIRECTORY...

hf-mem has the hub's address in its code and fails with ``httpx2.ConnectError`` (name not known) where there is no way to it. Its own
client takes a transport, so the same requests are answered from files here; nothing else of it is changed, and no network is timed.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import hf_mem
import httpx2

CLIENT = httpx2.AsyncClient
REPEATS = 20


def answer(root: Path, request: httpx2.Request) -> httpx2.Response:
    """Answer the two requests that hf-mem makes of the hub: the list of files, and a file's bytes, whole or a range."""
    path = urlsplit(str(request.url)).path
    if path.startswith("/api/models/"):
        listed = [{"type": "file", "path": file.name, "size": file.stat().st_size} for file in sorted(root.iterdir())]
        return httpx2.Response(200, json=listed)
    file = root / path.rpartition("/")[2]
    if not file.is_file():
        return httpx2.Response(404)
    wanted = request.headers.get("Range")
    with file.open("rb") as opened:
        if wanted is None:
            return httpx2.Response(200, content=opened.read())
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        opened.seek(first)
        return httpx2.Response(206, content=opened.read(last - first + 1))


def sizes(root: Path, context: int, sequences: int) -> dict[str, object]:
    """Return bytes of weights and cache, or the error, and the seconds."""
    transport = httpx2.MockTransport(lambda request: answer(root, request))
    httpx2.AsyncClient = lambda **_: CLIENT(transport=transport)
    began = time.perf_counter()
    try:
        found = hf_mem.run(
            model_id=f"local/{root.name}", experimental=True, max_model_len=context, batch_size=sequences
        )
    except (RuntimeError, KeyError, ValueError, httpx2.HTTPError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - began
    return {"weight_bytes": found.memory, "kv_bytes": found.kv_cache, "seconds": seconds, "error": ""}


def main(context: str, sequences: str, *directories: str) -> None:
    """Answer for each directory: the quickest of several rounds."""
    warnings.simplefilter("ignore")
    for directory in directories:
        rounds = [sizes(Path(directory), int(context), int(sequences)) for _ in range(REPEATS)]
        record = min(rounds, key=lambda found: found.get("seconds", 0))
        print(json.dumps({"file": directory, **record}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
