"""Has an engine score golden texts, teacher-forced.

Over the same protocol that clients use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import grpc
import numpy as np
import numpy.typing as npt

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.oip_codec import RAW_FORMATS, join_bytes
from echoplaned.core.facts import ModelFacts, Task
from echoplaned.core.ids import VersionKey
from echoplaned.engines.channels import Channels, KeyAt, answer_details
from echoplaned.engines.messages import BadAnswerError, checked_message
from echoplaned.engines.scoring_texts import SCORING_TEXTS
from echoplaned.ports.scoring import ScoreOutcome
from echoplaned.worker_contract.golden import PROBE_MARK

SCORE_DEADLINE_S: Final = 30.0

_MESSAGE_BYTES: Final = 24 * 1024 * 1024  # the worker's limit for whole distributions is 16 MiB


class BadScoreError(Exception):
    """An answer is not one to a scored text."""


class OipScorer:
    """Has golden texts scored; keeps one channel an address.

    Args:
        key_at: knows the control keys: without its leader's, an engine refuses to give whole distributions.
        answered: told of each text that an engine has answered, well or not.
    """

    def __init__(self, key_at: KeyAt = lambda _: "", answered: Callable[[VersionKey], None] = lambda _: None) -> None:
        self._answered = answered
        self._channels = Channels((("grpc.max_receive_message_length", _MESSAGE_BYTES),), key_at=key_at)

    @property
    def text_count(self) -> int:
        """How many texts there are."""
        return len(SCORING_TEXTS)

    def text(self, index: int) -> str:
        """Return golden text ``index`` (modulo their number)."""
        return SCORING_TEXTS[index % len(SCORING_TEXTS)]

    async def score(
        self, version: VersionKey, facts: ModelFacts, address: str, index: int, *, as_int8: bool = False
    ) -> ScoreOutcome:
        """Have one golden text scored.

        ``index`` is taken modulo the number of texts. Never raises for an engine's failure.

        ``as_int8``: as the version in INT8 would score it.
        """
        request = score_request(version, facts.task, index)
        if as_int8:
            request.parameters["requantised"].bool_param = True
        try:
            response = await self._infer(address, request)
            self._answered(version)
            return read_score(checked_message(response), facts.task)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                self._answered(version)
            return ScoreOutcome(ok=False, detail=f"text {index}: {error.code().name}: {answer_details(error)}")
        except (BadScoreError, BadAnswerError) as error:
            return ScoreOutcome(ok=False, detail=f"text {index}: {error}")

    async def _infer(self, address: str, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        with self._channels.calling(address) as line:
            stub = cast("oip_grpc.GRPCInferenceServiceAsyncStub", oip_grpc.GRPCInferenceServiceStub(line.channel))
            return await stub.ModelInfer(request, timeout=SCORE_DEADLINE_S, metadata=(PROBE_MARK, *line.metadata))

    async def close(self) -> None:
        """Close every channel."""
        await self._channels.close()


def score_request(version: VersionKey, task: Task, index: int) -> oip.ModelInferRequest:
    """Return the request that has one golden text scored.

    The text is cut to the version's context.
    """
    text = SCORING_TEXTS[index % len(SCORING_TEXTS)].encode()
    request = oip.ModelInferRequest(model_name=version.model, model_version=version.version)
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(join_bytes([text]))
    request.parameters["truncate"].bool_param = True
    if task is Task.GENERATION:
        request.parameters["score"].bool_param = True
        request.parameters["distributions"].string_param = "FP32"
    return request


def read_score(response: oip.ModelInferResponse, task: Task) -> ScoreOutcome:
    """Read the answer to one text.

    Raises:
        BadScoreError: an output is missing, does not fit the others, or is not finite.
    """
    tensors = _tensors(response)
    if task is not Task.GENERATION:
        if len(tensors) != 1:
            raise BadScoreError(f"the answer has {len(tensors)} outputs, not one vector")
        (vector,) = tensors.values()
        return ScoreOutcome(ok=True, vector=vector.astype(np.float32)[0])
    if not {"token_ids", "logprobs"} <= tensors.keys():
        raise BadScoreError("the answer lacks token_ids or logprobs")
    ids, logprobs, whole = tensors["token_ids"], tensors["logprobs"], tensors.get("log_distributions")
    if ids.shape != logprobs.shape or ids.ndim != 2 or (whole is not None and whole.shape[:2] != ids.shape):
        raise BadScoreError("the answer's outputs do not have the same tokens")
    return ScoreOutcome(
        ok=True,
        token_ids=ids[0].astype(np.int64),
        log_probabilities=logprobs[0].astype(np.float32),
        distributions=None if whole is None else whole[0].astype(np.float32),
    )


def _tensors(response: oip.ModelInferResponse) -> dict[str, npt.NDArray[np.generic]]:
    """Return the outputs of one sequence by name."""
    if len(response.raw_output_contents) != len(response.outputs):
        raise BadScoreError("the answer's contents are not raw, as the request's were")
    found: dict[str, npt.NDArray[np.generic]] = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        shape = tuple(output.shape)
        try:
            values = np.frombuffer(raw, RAW_FORMATS[output.datatype]).reshape(shape)
        except (KeyError, ValueError) as error:
            raise BadScoreError(f"output {output.name} is not what it says it is: {error}") from error
        if len(shape) < 2 or shape[0] != 1 or not values.size or not np.isfinite(values).all():
            raise BadScoreError(f"output {output.name} of shape {list(shape)} is not one sequence of finite numbers")
        found[output.name] = values
    return found
