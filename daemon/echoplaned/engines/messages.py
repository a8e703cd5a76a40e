"""Requests and answers of golden prompts in the Open Inference Protocol (OIP).

Without numpy: the daemon has no need of it otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.oip_codec import ContentsError, join_bytes, split_numbers
from echoplaned.core.facts import Signature, Task, TensorSpec
from echoplaned.core.ids import VersionKey
from echoplaned.worker_contract.golden import GOLDEN_TOKENS, golden_text

_SAME: Final = 1e-6
_READ: Final = frozenset({"FP32", "INT64"})


class BadAnswerError(Exception):
    """An engine's answer is not what its signature promises."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """A checked answer to a golden prompt.

    Attributes:
        numbers: every number of its FP32 outputs, all finite.
        token_ids: token ids of a generation; empty: the engine generates none.
    """

    numbers: tuple[float, ...]
    token_ids: tuple[int, ...]


def golden_request(version: VersionKey, task: Task, index: int) -> oip.ModelInferRequest:
    """Return the request that carries one golden prompt."""
    text = golden_text(index).encode()
    request = oip.ModelInferRequest(model_name=version.model, model_version=version.version)
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(join_bytes([text]))
    if task is Task.GENERATION:
        request.parameters["max_tokens"].int64_param = GOLDEN_TOKENS
    return request


def checked_message(response: object) -> oip.ModelInferResponse:
    """Return an answer if it is one: grpc.aio gives None for what it cannot parse.

    Raises:
        BadAnswerError: it is none.
    """
    if not isinstance(response, oip.ModelInferResponse):
        raise BadAnswerError("the answer is no message of the Open Inference Protocol")
    return response


def read_answer(response: oip.ModelInferResponse, signature: Signature) -> ProbeAnswer:
    """Check an answer to one prompt against the signature.

    Raises:
        BadAnswerError: an output is missing, of another dtype or shape, or not finite.
    """
    outputs = {output.name: index for index, output in enumerate(response.outputs)}
    if len(response.raw_output_contents) != len(response.outputs):
        raise BadAnswerError("the answer's contents are not raw, as the request's were")
    numbers: list[float] = []
    token_ids: list[int] = []
    for spec in signature.outputs:
        if spec.name not in outputs:
            raise BadAnswerError(f"the answer has no output {spec.name}")
        index = outputs[spec.name]
        output = response.outputs[index]
        shape = tuple(output.shape)
        if output.datatype != spec.datatype or not _fits(shape, spec.shape):
            raise BadAnswerError(
                f"output {spec.name} is {output.datatype}{list(shape)}, not {spec.datatype}{list(spec.shape)}"
            )
        if spec.datatype not in _READ:
            continue
        values = _numbers(spec, response.raw_output_contents[index])
        if len(values) != math.prod(shape):
            raise BadAnswerError(f"output {spec.name} has {len(values)} elements; its shape says {math.prod(shape)}")
        if spec.datatype == "INT64":
            token_ids.extend(int(value) for value in values)
        else:
            numbers.extend(values)
    if not all(math.isfinite(number) for number in numbers):
        raise BadAnswerError("the answer holds NaN or an infinity")
    return ProbeAnswer(tuple(numbers), tuple(token_ids))


def _numbers(spec: TensorSpec, raw: bytes) -> list[bool | int | float]:
    """Read raw numbers."""
    try:
        return split_numbers(spec.datatype, raw)
    except ContentsError as error:
        raise BadAnswerError(f"output {spec.name}: {error}") from error


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Say whether the answer to one prompt has the promised shape."""
    if len(shape) != len(wanted) or not shape or shape[0] != 1:
        return False
    return all(size > 0 and want in {-1, size} for size, want in zip(shape[1:], wanted[1:], strict=True))


def is_same(one: ProbeAnswer, other: ProbeAnswer) -> bool:
    """Say whether two answers are the same but for rounding.

    An engine that gives the same answer to different texts does not answer them.
    """
    largest = max(map(abs, one.numbers), default=0.0)
    return one.token_ids == other.token_ids and difference(one, other) <= _SAME * (1.0 + largest)


def difference(one: ProbeAnswer, other: ProbeAnswer) -> float:
    """Return how far two answers to the same prompt are apart.

    The largest difference of a number; infinity if their shapes differ.
    """
    if len(one.numbers) != len(other.numbers):
        return math.inf
    return max((abs(a - b) for a, b in zip(one.numbers, other.numbers, strict=True)), default=0.0)
