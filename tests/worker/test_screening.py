"""Requests looked at on the wire, before they are parsed."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.worker_contract.inference.screening import SMALL_BYTES, BatchLimits, Unread, reader

LIMITS = BatchLimits(sequences=8, tokens=512)
LARGEST = 4 * 1024 * 1024
TRIES = 3
"""The best of so many counts: a busy machine takes time that no reading took."""

read = reader(lambda: LIMITS)

FIELDS = {field.name: field.number for field in oip.ModelInferRequest.DESCRIPTOR.fields}


def empty(field: str) -> bytes:
    """Return the largest message of one empty element of a field after the other."""
    return bytes([FIELDS[field] << 3 | 2, 0]) * (LARGEST // 2)


def of_inputs(inner: bytes) -> bytes:
    """Return a message with one tensor, by its own bytes."""
    size, written = len(inner), bytearray([FIELDS["inputs"] << 3 | 2])
    while size >= 0x80:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(written) + bytes([size]) + inner


def parameters() -> bytes:
    """Return the largest message of parameters with names of their own."""
    written = bytearray()
    for number in itertools.count():
        name = b"%x" % number
        entry = b"\x0a" + bytes([len(name)]) + name
        written += bytes([FIELDS["parameters"] << 3 | 2, len(entry)]) + entry
        if len(written) > LARGEST:
            return bytes(written)
    raise AssertionError


def typed(**contents: list[int] | list[bytes] | list[float]) -> bytes:
    """Return a message with typed contents."""
    message = oip.ModelInferRequest()
    tensor = message.inputs.add(name="input_ids")
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    return message.SerializeToString()


COSTLY = {
    "raw contents": (empty("raw_input_contents"), "inputs, or raw_input_contents"),
    "inputs": (empty("inputs"), "inputs, or raw_input_contents"),
    "outputs": (empty("outputs"), "beside its tensors"),
    "parameters": (parameters(), "beside its tensors"),
    "integers": (typed(int64_contents=[1] * (2 * 1024 * 1024)), "more elements than"),
    "texts": (typed(bytes_contents=[b""] * (2 * 1024 * 1024)), "max_concurrency, 8"),
    "other numbers": (typed(fp32_contents=[0.0] * (1024 * 1024)), "beside its tensors"),
    "dimensions": (of_inputs(b"\x18\x01" * (LARGEST // 2)), "beside its tensors"),
    "unknown fields": (b"\xf8\x07\x01" * (LARGEST // 3), "beside its tensors"),
    "a length beyond the end": (b"\x3a\xff\xff\xff\xff\x0f" + bytes(SMALL_BYTES), "cut short"),
    "a varint without an end": (b"\xff" * (SMALL_BYTES + 1), "cut short"),
    "a group": (b"\x0b" * (SMALL_BYTES + 1), "no ModelInferRequest"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_costs_more_than_it_may_is_not_parsed(name: str) -> None:
    """The largest message of each kind is refused in milliseconds of CPU, and says why."""
    data, says = COSTLY[name]
    took_s = []
    for _ in range(TRIES):
        began_s = time.thread_time()
        found = read(data)
        took_s.append(time.thread_time() - began_s)
        assert isinstance(found, Unread)
        assert says in found.why
    assert min(took_s) < 0.02, took_s


def test_what_a_version_takes_is_parsed() -> None:
    """A full batch of the longest sequences passes, typed and raw; what is cut or padded may be longer."""
    full = [2**40] * (8 * 512)
    assert read(typed(int64_contents=full)) == oip.ModelInferRequest.FromString(typed(int64_contents=full))
    raw = oip.ModelInferRequest(raw_input_contents=[bytes(LARGEST)])
    assert read(raw.SerializeToString()) == raw
    texts = typed(bytes_contents=[b"x" * 100_000] * 8)
    assert isinstance(read(texts), oip.ModelInferRequest)
    cut = oip.ModelInferRequest.FromString(typed(int64_contents=[1] * 100_000))
    assert isinstance(read(cut.SerializeToString()), Unread)
    cut.parameters["truncate"].bool_param = True
    assert read(cut.SerializeToString()) == cut


def test_garbage_is_no_request() -> None:
    """What cannot be parsed has a reason instead of a stack; without a model nothing is looked at."""
    assert read(b"\xff") == Unread("the message is no ModelInferRequest")
    assert isinstance(reader(lambda: None)(b""), oip.ModelInferRequest)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_have_an_answer(data: bytes, repeats: int) -> None:
    """Nothing raises, whatever the bytes are, and what is parsed is what protobuf makes of them."""
    message = data * (repeats * SMALL_BYTES // 100 + 1)
    found = read(message)
    assert isinstance(found, Unread) or found == oip.ModelInferRequest.FromString(message)
