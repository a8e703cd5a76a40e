"""Requests of a few bytes whose answers are large, and long names: neither holds up the worker's loop, or its neighbours.

Before large answers were written in pieces the second ended a healthy worker, and the first did before long names were left unescaped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import httpx2
import pytest

from echoplaned.testing import checkpoints as make
from echoplaned.worker_contract.record import WorkerRecord
from tests.e2e import e2e_system as e
from tests.hostile.attack import Neighbour, serving_record, text_request
from tests.hostile.test_hangs import is_serving

MODEL = "large"
ANSWERS = 32
TOKENS = 900
TOP = 20
POLL_S = 0.2
SHAPE = make.DecoderShape(layers=1, width=16, heads=2, kv_heads=1, feed_forward=16, positions=1024)


@contextmanager
def watched(system: e.System) -> Iterator[list[bool]]:
    """Note again and again whether the model serves."""
    seen: list[bool] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_S):
            seen.append(is_serving(system, f"models/{MODEL}"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(30.0)


def load_decoder(system: e.System) -> None:
    """Load a model whose answers end by their length alone."""
    plain = make.make_decoder(system.made.root / "endless-plain", shape=SHAPE)
    made = make.add_chat_template(plain, system.made.root / "endless")
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    system.load(MODEL, source="endless", max_concurrency=ANSWERS + 8)


def ask(record: WorkerRecord, path: str, body: dict[str, object]) -> httpx2.Response:
    """Send a request to a worker's own socket."""
    (socket,) = {one.address.removeprefix("unix:") for one in record.endpoints if one.address.startswith("unix:")}
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=socket), base_url="http://worker", timeout=200.0) as client:
        content = json.dumps({"model": MODEL, **body}, ensure_ascii=False).encode()
        return client.post(path, content=content, headers={"content-type": "application/json"})


def attack(system: e.System, path: str, body: dict[str, object]) -> httpx2.Response:
    """Send a request beside an honest caller; check that neither he nor the model's health has noticed."""
    record = serving_record(system.daemon.state_dir)
    neighbour = Neighbour(record.address, lambda number: text_request(MODEL, f"honest {number}", max_tokens=1))
    with watched(system) as seen, neighbour.calling() as ended:
        told = ask(record, path, body)
    slowest_s = max(one.took_s for one in ended)
    print(f"{path}: {len(told.content)} bytes, {len(ended)} calls beside, slowest {slowest_s:.2f} s")  # noqa: T201 - the figures
    assert told.status_code == 200, told.text[:500]
    assert {one.code for one in ended} == {grpc.StatusCode.OK}, ended[-1]
    assert seen, "nobody looked"
    assert all(seen), seen
    assert serving_record(system.daemon.state_dir) == record
    return told


@pytest.mark.timeout(400)
def test_long_names_and_large_answers_harm_nobody(system: e.System) -> None:
    """Honest calls all succeed and the model serves, beside a user of eight million marks and 600,000 log-probabilities."""
    load_decoder(system)
    messages = [{"role": "user", "content": "Hi"}]
    attack(system, "/v1/completions", {"prompt": "Hi", "max_tokens": 1, "user": "\u0301" * 7_900_000})
    sizes = {"n": ANSWERS, "max_tokens": TOKENS, "seed": 1}
    told = attack(
        system, "/v1/chat/completions", {"messages": messages, "logprobs": True, "top_logprobs": TOP, **sizes}
    )
    choices = told.json()["choices"]
    assert [len(one["logprobs"]["content"]) for one in choices] == [TOKENS] * ANSWERS
    assert len(choices[-1]["logprobs"]["content"][-1]["top_logprobs"]) == TOP
    system.delete(MODEL)
