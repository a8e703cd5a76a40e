"""Golden prompts and the checks of their answers."""

from __future__ import annotations

import math
import struct

import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.facts import Task
from echoplaned.core.signature import signature_for
from echoplaned.engines.messages import BadAnswerError, ProbeAnswer, difference, golden_request, read_answer
from echoplaned.worker_contract.golden import GOLDEN_TEXTS, GOLDEN_TOKENS, golden_text
from tests.engines.engine_bench import KEY

EMBEDDING = signature_for(Task.EMBEDDING, embedding_width=2)
GENERATION = signature_for(Task.GENERATION)


def answer(*outputs: tuple[str, str, list[int], bytes]) -> oip.ModelInferResponse:
    """Return an answer of raw outputs."""
    response = oip.ModelInferResponse()
    for name, datatype, shape, raw in outputs:
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    return response


def vector(*values: float) -> bytes:
    """Return raw FP32."""
    return struct.pack(f"<{len(values)}f", *values)


def test_prompts_are_short_and_wrap_around() -> None:
    """There are a dozen of them, all short, and any index is one of them."""
    assert len(GOLDEN_TEXTS) == 12
    assert max(map(len, GOLDEN_TEXTS)) <= 50
    assert golden_text(13) == GOLDEN_TEXTS[1]


def test_a_request_names_the_version_and_bounds_a_generation() -> None:
    """A probe asks this very version, and for few tokens."""
    request = golden_request(KEY.version, Task.GENERATION, 3)
    assert (request.model_name, request.model_version) == ("m", "v1")
    assert request.raw_input_contents[0] == b"\1\0\0\0a"
    assert request.parameters["max_tokens"].int64_param == GOLDEN_TOKENS
    assert not golden_request(KEY.version, Task.EMBEDDING, 0).parameters


def test_a_good_answer_is_read() -> None:
    """Numbers and token ids come out, text is only required to be there."""
    embedding = read_answer(answer(("embedding", "FP32", [1, 2], vector(0.5, -1))), EMBEDDING)
    assert embedding == ProbeAnswer((0.5, -1.0), ())
    generation = answer(
        ("text", "BYTES", [1], b"\1\0\0\0x"),
        ("token_ids", "INT64", [1, 2], struct.pack("<2q", 5, 6)),
        ("logprobs", "FP32", [1, 2], vector(-1, -2)),
    )
    assert read_answer(generation, GENERATION) == ProbeAnswer((-1.0, -2.0), (5, 6))


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (answer(), "no output embedding"),
        (answer(("embedding", "FP32", [1, 3], vector(1, 2, 3))), r"not FP32\[-1, 2\]"),
        (answer(("embedding", "FP64", [1, 2], vector(1, 2))), "FP64"),
        (answer(("embedding", "FP32", [2, 2], vector(1, 2, 3, 4))), r"FP32\[2, 2\]"),
        (answer(("embedding", "FP32", [1, 2], vector(1))), "1 elements; its shape says 2"),
        (answer(("embedding", "FP32", [1, 2], b"\0\0\0")), "3 raw bytes are no elements of datatype FP32"),
        (answer(("embedding", "FP32", [1, 2], vector(1, math.nan))), "NaN or an infinity"),
        (answer(("embedding", "FP32", [1, 2], vector(1, math.inf))), "NaN or an infinity"),
        (oip.ModelInferResponse(outputs=[oip.ModelInferResponse.InferOutputTensor(name="embedding")]), "not raw"),
    ],
)
def test_a_bad_answer_is_refused(response: oip.ModelInferResponse, says: str) -> None:
    """A missing output, another dtype or shape, and numbers that are none are named."""
    with pytest.raises(BadAnswerError, match=says):
        read_answer(response, EMBEDDING)


def test_the_difference_of_answers() -> None:
    """The largest difference of a number; infinite where the shapes differ."""
    assert difference(ProbeAnswer((1.0, 2.0), ()), ProbeAnswer((1.5, 2.25), ())) == 0.5
    assert difference(ProbeAnswer((), ()), ProbeAnswer((), ())) == 0.0
    assert math.isinf(difference(ProbeAnswer((1.0,), ()), ProbeAnswer((1.0, 2.0), ())))
