"""Callers on another host: chat, streams and gRPC over TLS with a key, without a pause until standard input ends.

``e2e_remote_load.py HOST PORT CA KEY MODEL``; prints one line when the first answers are there, and at the end one line of JSON:
answers by kind and version, and what failed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import openai

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.xds.door.names import VERSION_HEADER

HOST, PORT, CA, KEY, MODEL = sys.argv[1:6]
TOKENS = 3
HELLO: Any = [{"role": "user", "content": "Hello"}]
WAIT_S = 60.0

answers: Counter[str] = Counter()
failures: list[str] = []
stop = threading.Event()


def client() -> openai.OpenAI:
    """Return a client that trusts that CA alone, and asks once only."""
    http_client = openai.DefaultHttpxClient(verify=CA, trust_env=False)
    return openai.OpenAI(
        base_url=f"https://{HOST}:{PORT}/v1", api_key=KEY, http_client=http_client, max_retries=0, timeout=WAIT_S
    )


def chat(asking: openai.OpenAI) -> str:
    """Ask for one answer; return the version that gave it."""
    answer = asking.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_tokens=TOKENS, temperature=0
    )
    if not answer.parse().choices[0].message.content:
        raise ValueError("an empty answer")
    return answer.headers[VERSION_HEADER]


def stream(asking: openai.OpenAI) -> str:
    """Ask for a stream, and read it to its end."""
    answer = asking.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_tokens=TOKENS, temperature=0, stream=True
    )
    if [chunk.choices[0].finish_reason for chunk in answer.parse()][-1] is None:
        raise ValueError("a stream that was cut")
    return answer.headers[VERSION_HEADER]


def infer(stub: oip_grpc.GRPCInferenceServiceStub) -> str:
    """Ask by gRPC."""
    request = oip.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"Once upon a time")
    request.parameters["max_tokens"].int64_param = TOKENS
    _, call = stub.ModelInfer.with_call(request, timeout=WAIT_S, metadata=(("authorization", f"Bearer {KEY}"),))
    return str(dict(call.initial_metadata())[VERSION_HEADER])


def call_for_ever(kind: str, call: Callable[[], str]) -> None:
    """Call until the end, and count what comes."""
    while not stop.is_set():
        try:
            answers[f"{kind} {call()}"] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
            failures.append(f"{kind}: {type(error).__name__}: {error}"[:500])
            if len(failures) > 100:
                return


def main() -> None:
    """Call in all three ways at once."""
    credentials = grpc.ssl_channel_credentials(Path(CA).read_bytes())
    with (
        client() as chatting,
        client() as streaming,
        grpc.secure_channel(f"{HOST}:{PORT}", credentials, DIRECT_OPTIONS) as channel,
    ):
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        calls: dict[str, Callable[[], str]] = {
            "chat": lambda: chat(chatting),
            "stream": lambda: stream(streaming),
            "grpc": lambda: infer(stub),
        }
        threads = [threading.Thread(target=call_for_ever, args=each) for each in calls.items()]
        for each in threads:
            each.start()
        sys.stdout.write("calling\n")
        sys.stdout.flush()
        sys.stdin.read()
        stop.set()
        for each in threads:
            each.join()
    sys.stdout.write(json.dumps({"answers": answers, "failures": failures}) + "\n")


if __name__ == "__main__":
    main()
