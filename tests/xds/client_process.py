"""A gRPC client that dials one target and obeys lines: ``calls N``, ``start``, ``stop``."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from typing import Any, cast

import grpc

from echoplane.channels import DIRECT_OPTIONS

METHOD = "/test.Echo/Call"
DEADLINE_S = 10.0
PAUSE_S = 0.002


def main(target: str) -> None:
    """Answer each line of the standard input with one line of JSON."""
    with grpc.insecure_channel(target, DIRECT_OPTIONS) as channel:
        call = cast(Any, channel).unary_unary(METHOD)
        counts: Counter[str] = Counter()
        lock = threading.Lock()
        stopping = threading.Event()

        def once() -> None:
            try:
                answer = call(b"", timeout=DEADLINE_S, wait_for_ready=False).decode()
            except grpc.RpcError as error:
                answer = f"{error.code().name}: {error.details()}"
            with lock:
                counts[answer] += 1

        def taken() -> dict[str, int]:
            with lock:
                result = dict(counts)
                counts.clear()
            return result

        def forever() -> None:
            while not stopping.wait(PAUSE_S):
                once()

        threads: list[threading.Thread] = []
        for line in sys.stdin:
            verb, _, argument = line.strip().partition(" ")
            answer: dict[str, int] = {}
            if verb == "calls":
                for _ in range(int(argument)):
                    once()
                answer = taken()
            elif verb == "start":
                threads = [threading.Thread(target=forever, daemon=True) for _ in range(2)]
                for thread in threads:
                    thread.start()
            elif verb == "stop":
                stopping.set()
                for thread in threads:
                    thread.join()
                answer = taken()
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
