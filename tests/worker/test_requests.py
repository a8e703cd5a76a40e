"""What a request may ask for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.core.signature import signature_for
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Sampling
from echoplaned.worker_contract.inference.errors import CallError, InvalidInputError, NotAllowedError, WrongModelError
from echoplaned.worker_contract.inference.requests import InferOrder, check_allowed, check_request, read_order


def options(task: Task = Task.GENERATION) -> LoadOptions:
    """Return the options of a small version."""
    instance = InstanceKey.parse("m/v1#0")
    return LoadOptions(instance, 1, Path("/nowhere"), task, Dtype.FP32, context_length=32, max_concurrency=2)


def text_request(*texts: bytes, model: str = "m", version: str = "") -> oip.ModelInferRequest:
    """Return a request of texts."""
    message = oip.ModelInferRequest(model_name=model, model_version=version)
    message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)]).contents.bytes_contents.extend(texts)
    return message


def ids_request(ids: list[list[int]], mask: list[list[int]] | None = None) -> oip.ModelInferRequest:
    """Return a request of token ids."""
    message = oip.ModelInferRequest(model_name="m")
    for name, rows in (("input_ids", ids), ("attention_mask", mask)):
        if rows is not None:
            tensor = message.inputs.add(name=name, datatype="INT64", shape=[len(rows), len(rows[0])])
            tensor.contents.int64_contents.extend(value for row in rows for value in row)
    return message


def read(message: oip.ModelInferRequest, task: Task = Task.GENERATION) -> InferOrder:
    """Check a request."""
    return read_order(message, options(task), signature_for(task, embedding_width=4, label_count=2))


def test_texts_with_defaults() -> None:
    """Texts come through, all outputs are sent, sampling is greedy."""
    order = read(text_request(b"a", b"b"))
    assert order.texts == ("a", "b")
    assert order.outputs == ("text", "token_ids", "logprobs")
    assert order.sampling == Sampling(max_tokens=0)


def test_a_mask_takes_padding_away_on_either_side() -> None:
    """Left and right padding are dropped; without a mask nothing is."""
    order = read(ids_request([[9, 1, 2], [3, 4, 9]], [[0, 1, 1], [1, 1, 0]]))
    assert order.rows == ((1, 2), (3, 4))
    assert read(ids_request([[9, 1]])).rows == ((9, 1),)


def test_sampling_parameters() -> None:
    """Each parameter is read in the types that clients send."""
    message = text_request(b"a")
    message.parameters["max_tokens"].int64_param = 5
    message.parameters["temperature"].double_param = 0.5
    message.parameters["top_k"].uint64_param = 3
    message.parameters["seed"].int64_param = 7
    message.parameters["timeout"].int64_param = 1000
    assert read(message).sampling == Sampling(max_tokens=5, temperature=0.5, top_k=3, seed=7)


def with_parameter(name: str, **value: float | str) -> oip.ModelInferRequest:
    """Return a request with one parameter."""
    message = text_request(b"a")
    for field, content in value.items():
        setattr(message.parameters[name], field, content)
    return message


def with_output(name: str) -> oip.ModelInferRequest:
    """Return a request for one output."""
    message = text_request(b"a")
    message.outputs.add(name=name)
    return message


@pytest.mark.parametrize(
    ("message", "error", "says"),
    [
        (text_request(b"a", model="other"), WrongModelError, "serves model 'm' version 'v1'"),
        (text_request(b"a", version="v2"), WrongModelError, "not 'm' version 'v2'"),
        (text_request(b"\xff"), InvalidInputError, "not UTF-8"),
        (text_request(b"a", b"b", b"c"), InvalidInputError, "max_concurrency is 2"),
        (oip.ModelInferRequest(model_name="m"), InvalidInputError, "exactly one of the inputs"),
        (ids_request([[1, 2, 3]], [[1, 0, 1]]), InvalidInputError, "gap"),
        (ids_request([[1, 2]], [[1, 2]]), InvalidInputError, "0 or 1"),
        (ids_request([[1, 2]], [[1]]), InvalidInputError, "shape of input_ids"),
        (with_parameter("temprature", double_param=1.0), InvalidInputError, "accepted: max_tokens, temperature"),
        (with_parameter("max_tokens", int64_param=0), InvalidInputError, "from 1 to 32"),
        (with_parameter("max_tokens", int64_param=33), InvalidInputError, "from 1 to 32"),
        (with_parameter("max_tokens", string_param="5"), InvalidInputError, "int64_param"),
        (with_parameter("temperature", double_param=float("nan")), InvalidInputError, "from 1e-06 to 100"),
        (with_parameter("temperature", double_param=-1.0), InvalidInputError, "from 1e-06 to 100"),
        (with_parameter("temperature", double_param=1e-300), InvalidInputError, "0 for the likeliest token"),
        (with_parameter("seed", int64_param=-1), InvalidInputError, "seed"),
        (with_output("embedding"), InvalidInputError, "there are: text, token_ids, logprobs"),
    ],
)
def test_what_is_refused(message: oip.ModelInferRequest, error: type[CallError], says: str) -> None:
    """A bad request is the caller's error and says what would be accepted."""
    with pytest.raises(error, match=says):
        read(message)


def with_id(length: int) -> oip.ModelInferRequest:
    """Return a request with an id."""
    message = text_request(b"a")
    message.id = "i" * length
    return message


def with_outputs(count: int) -> oip.ModelInferRequest:
    """Return a request that asks for the same output many times."""
    message = text_request(b"a")
    for _ in range(count):
        message.outputs.add(name="text")
    return message


def without_values(*shape: int) -> oip.ModelInferRequest:
    """Return a request whose values, if they were read, would be found to be missing."""
    message = oip.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name="input_ids", datatype="INT64", shape=shape)
    tensor.contents.int64_contents.extend([-1] * math.prod(shape))
    return message


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (without_values(3, 4), "max_concurrency is 2"),
        (without_values(200_000, 1), "max_concurrency is 2"),
        (without_values(1, 33), "context_length is 32"),
        (without_values(1, 200_000), "context_length is 32"),
        (text_request(b"\xff" * 16_385), "none of so many is counted"),
        (text_request(*[b"\xff"] * 100_000), "max_concurrency is 2"),
        (with_id(257), "at most 256"),
        (with_outputs(17), "asks for 17 outputs"),
    ],
)
def test_sizes_are_checked_before_values(message: oip.ModelInferRequest, says: str) -> None:
    """What is too much is refused by its shape, count and length, whatever the values are."""
    with pytest.raises(InvalidInputError, match=says):
        check_request(message, options(), signature_for(Task.GENERATION))


def test_padding_and_cutting_may_be_wider_than_the_context() -> None:
    """What the mask or the caller leaves out does not count."""
    padded = read(ids_request([[1, 2] + [9] * 40], [[1, 1] + [0] * 40]))
    assert padded.rows == ((1, 2),)
    cut = ids_request([[1] * 40])
    cut.parameters["truncate"].bool_param = True
    assert read(cut, Task.EMBEDDING).truncate


def test_parameters_of_the_daemon() -> None:
    """Only those are kept from clients that cost many times an answer, whatever their value."""
    for name in ("requantised", "distributions"):
        with pytest.raises(NotAllowedError, match=name):
            check_allowed(with_parameter(name, bool_param=False).parameters)
    check_allowed(with_parameter("score", bool_param=True).parameters)


@pytest.mark.parametrize("value", [1e-300, 5e-324, 1e-7, 100.1, float("inf"), float("-inf"), float("nan"), -0.1])
def test_temperatures_that_nobody_can_draw_with(value: float) -> None:
    """A temperature that would make NaN of the logits is its caller's error, not that of the batch."""
    with pytest.raises(InvalidInputError, match="temperature"):
        read(with_parameter("temperature", double_param=value))


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-6, 100.0])
def test_temperatures_at_the_bounds(value: float) -> None:
    """0 and both ends are taken."""
    assert read(with_parameter("temperature", double_param=value)).sampling.temperature == value


def test_an_encoder_takes_no_sampling() -> None:
    """Sampling parameters on an embedding are a mistake, not ignored."""
    with pytest.raises(InvalidInputError, match="accepted: truncate"):
        read(with_parameter("temperature", double_param=1.0), Task.EMBEDDING)


def test_text_and_ids_at_once_are_refused() -> None:
    """A request says what to compute once."""
    message = text_request(b"a")
    message.inputs.add(name="input_ids", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(1)
    with pytest.raises(InvalidInputError, match="exactly one"):
        read(message)


def test_wanted_outputs_come_once_in_order() -> None:
    """Only the outputs that were asked for are sent."""
    message = with_output("logprobs")
    message.outputs.add(name="text")
    message.outputs.add(name="logprobs")
    assert read(message).outputs == ("logprobs", "text")
