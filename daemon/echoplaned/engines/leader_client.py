"""The daemon's end of a leader's control service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar, cast

import grpc
import structlog

from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.core.effects import StartEngine
from echoplaned.core.failure import Reason
from echoplaned.core.text import escape
from echoplaned.engines.channels import EngineChannel, answer_details, open_channel
from echoplaned.worker_contract.control_key import key_metadata
from echoplaned.worker_contract.order import LoadOrder, write_order
from echoplaned.worker_contract.report import Report
from echoplaned.worker_contract.report_wire import MAX_NAME, read_report
from echoplaned.worker_contract.service import REASON_KEY

FINAL_REASONS: Final = frozenset({Reason.SOURCE_CHANGED, Reason.ENGINE_CHANGED})
"""Reasons that a leader names beside a refusal and the version is told: another process would refuse as well."""

_CALL_DEADLINE_S: Final = 5.0

_Message = TypeVar("_Message")

log = structlog.get_logger(__name__)


class LeaderRefusedError(Exception):
    """A leader answered a control call with an error.

    Args:
        code: its gRPC status.
        detail: why, in a sentence.
        reason: how the version shall be said to have failed.
    """

    def __init__(self, code: grpc.StatusCode, detail: str, reason: Reason = Reason.ENGINE_START_FAILED) -> None:
        super().__init__(detail)
        self.code = code
        self.reason = reason


class LeaderClient:
    """Control calls to one leader.

    Args:
        address: ``host:port`` of the leader.
        key: its control key; empty: it has none.
    """

    def __init__(self, address: str, key: str = "") -> None:
        self.address = address
        self.line = EngineChannel(open_channel(address), key_metadata(key))
        stub = worker_pb2_grpc.WorkerServiceStub(self.line.channel)
        self._stub = cast("worker_pb2_grpc.WorkerServiceAsyncStub", stub)

    async def load(self, effect: StartEngine, timeout_s: float) -> str:
        """Make the leader load an instance; return when it serves.

        Returns:
            The build that the version keeps; empty: none.

        Raises:
            LeaderRefusedError: it did not.
        """
        shape = effect.spec.shape
        order = LoadOrder(
            instance=effect.instance,
            generation=effect.generation,
            source_path=Path(effect.spec.source_path),
            task=effect.facts.task,
            dtype=shape.dtype,
            context_length=shape.context_length,
            max_concurrency=shape.max_concurrency,
            engine_options=dict(shape.options),
            device_ids=effect.placement.device_ids,
            weights_format=shape.weights_format,
            digest=effect.spec.digest,
            content=effect.facts.content,
            kv_cache_bytes=effect.kv_cache_bytes,
            reserved_bytes=max(share.bytes for share in effect.placement.shares),
            engine_build=effect.engine_build,
        )
        try:
            answer = await self._stub.Load(write_order(order), timeout=timeout_s, metadata=self.line.metadata)
        except grpc.aio.AioRpcError as error:
            detail = answer_details(error) or error.code().name
            raise LeaderRefusedError(error.code(), detail, _reason_of(error)) from error
        # grpc.aio gives None for an answer that it cannot parse.
        if not isinstance(answer, worker_pb2.LoadResponse):
            raise LeaderRefusedError(grpc.StatusCode.INTERNAL, "its answer is no message of the contract")
        return escape(answer.engine_build[:MAX_NAME])

    async def reports(self, interval_s: float) -> AsyncGenerator[Report, None]:
        """Yield a leader's reports until the stream breaks.

        That is no error here: the process's end is seen elsewhere.

        What is no report is as silence: it ends the stream too.
        """
        try:
            request = worker_pb2.WatchRequest(interval_s=interval_s)
            async with _ended_after(self._stub.Watch(request, metadata=self.line.metadata)) as messages:
                async for message in messages:
                    if not isinstance(message, worker_pb2.WorkerReport):
                        log.warning("report.unreadable", address=self.address)
                        return
                    yield read_report(message)
        except grpc.aio.AioRpcError:
            return

    async def traces(self, fraction: float) -> AsyncGenerator[worker_pb2.TraceBatch, None]:
        """Yield batches of traces until the stream breaks, which is no error here.

        A fraction of 0 ends the leader's tracing and this stream.
        """
        try:
            request = worker_pb2.WatchTracesRequest(fraction=fraction)
            async with _ended_after(self._stub.WatchTraces(request, metadata=self.line.metadata)) as batches:
                async for batch in batches:
                    if not isinstance(batch, worker_pb2.TraceBatch):
                        return
                    yield batch
        except grpc.aio.AioRpcError:
            return

    async def mark_draining(self, generation: int, *, draining: bool) -> None:
        """Mark the leader as draining, or take the mark back.

        One that does not answer is dealt with elsewhere.
        """
        request = worker_pb2.DrainRequest(generation=generation, undo=not draining)
        try:
            await self._stub.Drain(request, timeout=_CALL_DEADLINE_S, metadata=self.line.metadata)
        except grpc.aio.AioRpcError:
            return

    async def shut_down(self, grace_s: float) -> bool:
        """Ask the leader to end; whether it said yes."""
        request = worker_pb2.ShutdownRequest(grace_s=grace_s)
        try:
            await self._stub.Shutdown(request, timeout=grace_s + 1.0, metadata=self.line.metadata)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def close(self) -> None:
        """Close the channel."""
        await self.line.channel.close(None)


@asynccontextmanager
async def _ended_after(call: AsyncIterable[_Message]) -> AsyncGenerator[AsyncIterator[_Message], None]:
    """Give a stream's messages, and end the call when their reader leaves.

    The call and its iterator refer to each other, and hold 20 KiB of gRPC's and the channel's with them until the collector comes.
    """
    # grpc.aio iterates over a call by a generator, which its types do not say.
    messages = cast("AsyncGenerator[_Message, None]", aiter(call))
    try:
        yield messages
    finally:
        cast("grpc.aio.Call", call).cancel()
        await messages.aclose()


def _reason_of(error: grpc.aio.AioRpcError) -> Reason:
    """Return the reason that a leader names beside its refusal.

    Only those that are final are told apart.
    """
    # grpc.aio gives pairs, which its types know as objects with two attributes.
    pairs = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    named = [value for key, value in pairs if key == REASON_KEY]
    return next((one for one in FINAL_REASONS if one.value in named), Reason.ENGINE_START_FAILED)
