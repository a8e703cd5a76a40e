"""OIP tensors between the wire and Python."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.facts import Task
from echoplaned.core.signature import signature_for
from echoplaned.worker_contract.inference.errors import InvalidInputError
from echoplaned.worker_contract.inference.tensors import output_steps, read_inputs, write_output

SIGNATURE = signature_for(Task.EMBEDDING, embedding_width=4)


def request(name: str, datatype: str, shape: list[int], raw: bytes | None = None) -> oip.ModelInferRequest:
    """Return a request of one tensor, with raw contents if given."""
    message = oip.ModelInferRequest()
    message.inputs.add(name=name, datatype=datatype, shape=shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def packed(*elements: bytes) -> bytes:
    """Return BYTES as raw contents hold them."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def test_raw_and_typed_texts_are_the_same() -> None:
    """BYTES come out alike from both forms, an empty element included."""
    typed = request("text", "BYTES", [2])
    typed.inputs[0].contents.bytes_contents.extend([b"", "é".encode()])
    raw = request("text", "BYTES", [2], packed(b"", "é".encode()))
    assert read_inputs(typed, SIGNATURE).tensors == read_inputs(raw, SIGNATURE).tensors == {"text": [b"", "é".encode()]}
    assert (read_inputs(typed, SIGNATURE).raw, read_inputs(raw, SIGNATURE).raw) == (False, True)


def test_raw_and_typed_ids_are_the_same() -> None:
    """INT64 come out alike from both forms."""
    typed = request("input_ids", "INT64", [2, 2])
    typed.inputs[0].contents.int64_contents.extend([1, 2, -3, 4])
    raw = request("input_ids", "INT64", [2, 2], struct.pack("<4q", 1, 2, -3, 4))
    for message in (typed, raw):
        ids = read_inputs(message, SIGNATURE).tensors["input_ids"]
        assert np.array_equal(np.asarray(ids), [[1, 2], [-3, 4]])


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (request("texts", "BYTES", [1], packed(b"a")), "accepted: text BYTES\\[-1\\], input_ids"),
        (request("text", "FP32", [1], b"\0\0\0\0"), "accepted: text BYTES\\[-1\\]"),
        (request("text", "BYTES", [1, 1], packed(b"a")), "accepted: text BYTES\\[-1\\]"),
        (request("text", "BYTES", [0], b""), "sizes of 1 or more"),
        (request("text", "BYTES", [-1], packed(b"a")), "sizes of 1 or more"),
        (request("text", "BYTES", [2], packed(b"a")), "1 elements; its shape says 2"),
        (request("text", "BYTES", [1], packed(b"a", b"b")), "exactly 1 elements"),
        (request("text", "BYTES", [1], b"\xff\xff\xff\xffa"), "cut short"),
        (request("text", "BYTES", [1], b"\1\0"), "exactly 1 elements"),
        (request("text", "BYTES", [1]), "0 elements"),
        (request("text", "BYTES", [2**40]), "0 elements"),
        (request("input_ids", "INT64", [1, 2], b"\0" * 15), "15 raw bytes; its shape says 16"),
        (request("input_ids", "INT64", [2**62, 2**62], b"\0" * 16), "16 raw bytes"),
    ],
)
def test_what_does_not_fit_is_refused(message: oip.ModelInferRequest, says: str) -> None:
    """A wrong name, dtype, shape or size is named, with what is accepted."""
    with pytest.raises(InvalidInputError, match=says):
        read_inputs(message, SIGNATURE)


def test_both_forms_at_once_are_refused() -> None:
    """A tensor with typed contents beside raw ones is ambiguous."""
    message = request("text", "BYTES", [1], packed(b"a"))
    message.inputs[0].contents.bytes_contents.append(b"a")
    with pytest.raises(InvalidInputError, match="send one of them"):
        read_inputs(message, SIGNATURE)


def test_the_same_input_twice_is_refused() -> None:
    """A repeated name is not silently the last one."""
    message = request("text", "BYTES", [1], packed(b"a"))
    message.inputs.add(name="text", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(packed(b"b"))
    with pytest.raises(InvalidInputError, match="comes twice"):
        read_inputs(message, SIGNATURE)


def test_outputs_in_both_forms() -> None:
    """An output is written raw or typed with its dtype and shape."""
    response = oip.ModelInferResponse()
    write_output(response, "text", [b"ab", b""], raw=True)
    write_output(response, "token_ids", np.array([[1, -1]], dtype=np.int64), raw=True)
    write_output(response, "logprobs", np.array([[-0.5]], dtype=np.float32), raw=True)
    assert list(response.raw_output_contents) == [
        packed(b"ab", b""),
        struct.pack("<2q", 1, -1),
        struct.pack("<f", -0.5),
    ]
    assert [(o.datatype, list(o.shape)) for o in response.outputs] == [
        ("BYTES", [2]),
        ("INT64", [1, 2]),
        ("FP32", [1, 1]),
    ]
    typed = oip.ModelInferResponse()
    write_output(typed, "embedding", np.array([[1.0, 2.0]], dtype=np.float32), raw=False)
    assert list(typed.outputs[0].contents.fp32_contents) == [1.0, 2.0]


@pytest.mark.parametrize("raw", [False, True])
def test_large_outputs_are_written_in_steps(raw: bool) -> None:
    """Typed contents of 200,000 numbers take several steps, raw ones and small ones a single one; the result is the same."""
    values = np.random.default_rng(0).standard_normal((200, 1000)).astype(np.float32)
    whole, stepped = oip.ModelInferResponse(), oip.ModelInferResponse()
    write_output(whole, "embedding", values, raw=raw)
    assert len(list(output_steps(stepped, "embedding", values, raw=raw))) == (0 if raw else 3)
    assert stepped == whole
    if not raw:
        assert list(stepped.outputs[0].contents.fp32_contents) == values.ravel().tolist()
    assert not list(output_steps(stepped, "text", [b"a"], raw=raw))
    assert not list(output_steps(stepped, "logprobs", values[:1], raw=raw))
