"""Requests that would cost far more than they may: refused before they are read, while the worker answers everybody else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.worker_contract.record import WorkerRecord
from tests.e2e import e2e_system as e
from tests.hostile.attack import Neighbour, call, call_bytes, dial, serving_record, text_request

CODE = grpc.StatusCode
REFUSED_CPU_S = 0.1
"""CPU of the worker for one refusal, and for what it does meanwhile, in seconds: receiving 4 MiB takes some 10 ms.

Ten requests of two million ids took 2 to 4 s each, and the worker was ended as stuck.
"""


PANIC_CPU_S = 3.0
"""CPU for one text that the library gives up after ten million tries, and one that is refused: some 0.2 s."""


def cpu_s(record: WorkerRecord) -> float:
    """Return the CPU that a worker has used."""
    times = psutil.Process(record.pid).cpu_times()
    return times.user + times.system


def wide_ids(model: str) -> bytes:
    """Return the request of the largest number of token ids that nearly fits a message, each a sequence of its own."""
    message = oip.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name="input_ids", datatype="INT64", shape=[2_000_000, 1])
    tensor.contents.int64_contents.extend([1] * 2_000_000)
    return message.SerializeToString()


def many(field: str, size: int = 4_000_000) -> bytes:
    """Return a message of one empty element after the other."""
    number = oip.ModelInferRequest.DESCRIPTOR.fields_by_name[field].number
    return bytes([number << 3 | 2, 0]) * (size // 2)


def long_shape(model: str) -> bytes:
    """Return a request whose shape is the message."""
    message = oip.ModelInferRequest(model_name=model)
    message.inputs.add(name="input_ids", datatype="INT64", shape=[1] * 4_000_000)
    return message.SerializeToString()


def many_texts(model: str) -> bytes:
    """Return a request of a million texts."""
    message = oip.ModelInferRequest(model_name=model)
    texts = message.inputs.add(name="text", datatype="BYTES", shape=[1_000_000]).contents.bytes_contents
    texts.extend([b"a"] * 1_000_000)
    return message.SerializeToString()


@pytest.mark.timeout(300)
def test_large_requests_cost_nothing(system: e.System) -> None:
    """Ten of each kind, four at a time: INVALID_ARGUMENT at once, no neighbour fails, and it is the same worker all along."""
    system.load("wide")
    record = serving_record(system.daemon.state_dir)
    kinds = {
        "ids": wide_ids("wide"),
        "shape": long_shape("wide"),
        "texts": many_texts("wide"),
        **{field: many(field) for field in ("inputs", "outputs", "raw_input_contents")},
    }
    neighbour = Neighbour(record.address, lambda number: text_request("wide", f"honest {number}"))
    before_s = cpu_s(record)
    with neighbour.calling() as beside, ThreadPoolExecutor(4) as threads:
        attacks = {
            name: list(threads.map(lambda message: call_bytes(record.address, message), [message] * 10))
            for name, message in kinds.items()
        }
    used_s = cpu_s(record) - before_s
    assert {one.code for ended in attacks.values() for one in ended} == {CODE.INVALID_ARGUMENT}
    assert used_s / (10 * len(kinds)) < REFUSED_CPU_S
    assert {one.code for one in beside} == {CODE.OK}, beside
    assert serving_record(system.daemon.state_dir) == record
    system.delete("wide")


def _dangerous(folder: Path) -> None:
    """Give a checkpoint's tokenizer an expression that tries every way, and a rule that makes 4,000 characters of one."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    grows = {"type": "Replace", "pattern": {"String": "\u2603"}, "content": "y" * 4000}
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [tokenizer["normalizer"], grows]}
    tries = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [tries, tokenizer["pre_tokenizer"]]}
    path.write_text(json.dumps(tokenizer))


@pytest.mark.timeout(300)
def test_texts_that_a_tokenizer_suffers_from(system: e.System) -> None:
    """A text that makes it panic is answered, one that would grow is refused; neighbours are answered, by the same worker."""
    source = system.made.broken("dangerous-tokenizer", _dangerous)
    system.load("suffers", source=source.removeprefix("file:"))
    record = serving_record(system.daemon.state_dir)
    neighbour = Neighbour(record.address, lambda number: text_request("suffers", f"b {number}"))
    before_s = cpu_s(record)
    with neighbour.calling() as beside, dial(record.address) as stub:
        for _ in range(5):
            panics = call(stub, text_request("suffers", "a" * 30 + "!"))
            assert (panics.code, "tokenizer fails" in panics.details) == (CODE.INVALID_ARGUMENT, True), panics
            grows = call(stub, text_request("suffers", "\u2603" * 4000))
            assert (grows.code, "no text over" in grows.details) == (CODE.INVALID_ARGUMENT, True), grows
    assert cpu_s(record) - before_s < 5 * PANIC_CPU_S
    assert {one.code for one in beside} == {CODE.OK}, beside
    assert serving_record(system.daemon.state_dir) == record
    system.delete("suffers")


def _endless_words(folder: Path) -> None:
    """Let a word have as many characters as it likes, each of which begins a search for the longest piece."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    assert tokenizer["model"]["type"] == "WordPiece"
    tokenizer["model"]["max_input_chars_per_word"] = 10**9
    tokenizer["normalizer"] = None
    tokenizer["pre_tokenizer"] = None
    letters = [prefix + letter for prefix in ("", "##") for letter in "ab"]
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary.update({piece: vocabulary.get(piece, vocabulary["[UNK]"]) for piece in letters})
    path.write_text(json.dumps(tokenizer))


@pytest.mark.timeout(300)
def test_words_without_an_end(system: e.System) -> None:
    """A text of one word takes the square of its length: what would take seconds is refused, and what takes less is answered."""
    source = system.made.broken("endless-words", _endless_words)
    system.load("endless", source=source.removeprefix("file:"), context_length=512)
    record = serving_record(system.daemon.state_dir)
    before_s = cpu_s(record)
    with dial(record.address) as stub:
        refused = call(stub, text_request("endless", "a" * 32_768))
        assert (refused.code, "no text over 4096" in refused.details) == (CODE.INVALID_ARGUMENT, True), refused
        assert call(stub, text_request("endless", "ab" * 16)).code == CODE.OK
    assert cpu_s(record) - before_s < PANIC_CPU_S
    assert serving_record(system.daemon.state_dir) == record
    system.delete("endless")
