"""Real inferences made as probes, over the same protocol that clients use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

import grpc

from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import VersionKey
from echoplaned.engines.channels import Channels, EngineChannel, KeyAt, answer_details
from echoplaned.engines.messages import (
    BadAnswerError,
    ProbeAnswer,
    checked_message,
    difference,
    golden_request,
    is_same,
    read_answer,
)
from echoplaned.ports.probing import ProbeOutcome
from echoplaned.worker_contract.golden import GOLDEN_TEXTS, PROBE_MARK

PROBE_DEADLINE_S: Final = 30.0

REPEATED: Final = range(0, len(GOLDEN_TEXTS), 3)
"""Prompts that are sent twice. An engine that answers at random does so with any of them."""

REACH_S: Final = 2.0
"""How long a connection may take to be made."""

# The same prompt twice may meet other company in its batch, which changes the order of additions: rounding is not a difference.
_TOLERANCE: Final = 0.02


# A full queue, an engine that is not there or ends, and a deadline of ours are no answers of the model.
_NO_VERDICT: Final = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)


class ProbeFailedError(Exception):
    """An inference made as a probe failed.

    Attributes:
        unavailable: the engine could not be reached or broke off.
        overloaded: it found no room.
        no_verdict: it says nothing of the model: the engine was busy, or could not be reached.
    """

    def __init__(self, detail: str, *, code: grpc.StatusCode | None = None) -> None:
        super().__init__(detail)
        self.unavailable = code is grpc.StatusCode.UNAVAILABLE
        self.overloaded = code is grpc.StatusCode.RESOURCE_EXHAUSTED
        self.no_verdict = code in _NO_VERDICT


async def infer_golden(
    line: EngineChannel,
    version: VersionKey,
    facts: ModelFacts,
    index: int,
    timeout_s: float | None = PROBE_DEADLINE_S,
) -> ProbeAnswer:
    """Send one golden prompt and check the answer.

    Raises:
        ProbeFailedError: the call failed, or its answer is not what the signature promises.
    """
    stub = cast("oip_grpc.GRPCInferenceServiceAsyncStub", oip_grpc.GRPCInferenceServiceStub(line.channel))
    try:
        request = golden_request(version, facts.task, index)
        response = await stub.ModelInfer(request, timeout=timeout_s, metadata=(PROBE_MARK, *line.metadata))
        return read_answer(checked_message(response), facts.signature)
    except grpc.aio.AioRpcError as error:
        detail = f"prompt {index}: {error.code().name}: {answer_details(error)}"
        raise ProbeFailedError(detail, code=error.code()) from error
    except BadAnswerError as error:
        raise ProbeFailedError(f"prompt {index}: {error}") from error


async def probe_all(
    line: EngineChannel, version: VersionKey, facts: ModelFacts, before_call: Callable[[], None]
) -> int:
    """Send every golden prompt, and return how many there were.

    Some of them are sent twice to compare.

    The texts differ, so an engine that answers all of them alike (zeros are the plainest case) has not read them.

    ``before_call`` is called before each inference, so that what the worker counts of them is not taken for traffic.

    Raises:
        ProbeFailedError: one of them failed, or was answered differently the second time, or all were answered alike.
    """
    count = len(GOLDEN_TEXTS)
    answers = await _infer_all(line, version, facts, before_call, [*range(count), *REPEATED])
    for index, second in zip(REPEATED, answers[count:], strict=True):
        first = answers[index]
        apart = difference(first, second)
        if apart > _TOLERANCE * (1.0 + max(map(abs, first.numbers), default=0.0)):
            raise ProbeFailedError(f"prompt {index} was answered differently the second time (by {apart:.3g})")
    if all(is_same(answers[0], answer) for answer in answers[1:count]):
        raise ProbeFailedError(f"all {count} golden prompts were answered alike")
    return count


async def _infer_all(
    line: EngineChannel,
    version: VersionKey,
    facts: ModelFacts,
    before_call: Callable[[], None],
    indices: Sequence[int],
) -> list[ProbeAnswer]:
    """Send golden prompts, all together, and return their answers in order.

    One by one they would be most of a small model's load.

    The queue of any worker has room for them. One that computes them one after the other has the time for each of them.
    """
    timeout_s = PROBE_DEADLINE_S * len(indices)
    calls = []
    for index in indices:
        before_call()
        calls.append(infer_golden(line, version, facts, index, timeout_s))
    answers: list[ProbeAnswer] = []
    # All are waited for, so that none goes on after a failure beside it.
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers


async def reaches(address: str) -> bool:
    """Whether a new connection can be made to an address, ``HOST:PORT``.

    A connection that was made before may go on where no other one is let in.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return True


class OipProber:
    """Makes single golden probes for the gates; keeps one channel an address.

    Args:
        clock: monotonic seconds.
        key_at: knows the control keys: without its leader's, a probe counts as a client's call.
        answered: told of each probe that an engine has answered, well or not.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        key_at: KeyAt = lambda _: "",
        answered: Callable[[VersionKey], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._answered = answered
        self._channels = Channels(key_at=key_at)

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Send one golden prompt and check the answer.

        ``index`` is taken modulo the number of prompts. Never raises for an engine's failure.
        """
        began_s = self._clock()
        try:
            with self._channels.calling(address) as line:
                await infer_golden(line, version, facts, index)
        except ProbeFailedError as error:
            took_s = self._clock() - began_s
            if not error.unavailable:
                self._answered(version)
            return ProbeOutcome(
                ok=False, detail=str(error), duration_s=took_s, overloaded=error.overloaded, no_verdict=error.no_verdict
            )
        self._answered(version)
        return ProbeOutcome(ok=True, duration_s=self._clock() - began_s)

    async def close(self) -> None:
        """Close every channel."""
        await self._channels.close()
