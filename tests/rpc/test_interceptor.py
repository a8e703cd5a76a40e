"""What every call goes through, around a service of the test's own on a real server."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf.message import Message

from echoplane.channels import DIRECT_OPTIONS
from echoplane.googleapis import error_details_pb2
from echoplane.v1 import models_pb2
from echoplaned.core.errors import ModelNotFoundError
from echoplaned.core.failure import Reason
from echoplaned.rpc import interceptor
from echoplaned.rpc.interceptor import ApiInterceptor
from echoplaned.rpc.lifecycle import DaemonStoppingError
from echoplaned.rpc.request_streams import RequestStreams
from echoplaned.rpc.validate import parse
from tests.rpc.world import failed

CODE = grpc.StatusCode
SERVICE = "test.Service"
GOOD = models_pb2.GetModelRequest(name="models/m")
INSIDE = "the inside of a broken handler"


@dataclass
class Calls:
    """What the service and the observer saw. ``clock``: rises by one second at every look."""

    ended: list[tuple[str, str, float]] = field(default_factory=list)
    handled: list[dict[str, Any]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    looked_up: int = 0

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """Note the end of a call."""
        self.ended.append((method.rpartition("/")[2], code, seconds))
        self.told.set()

    async def answer(self, request: models_pb2.GetModelRequest, context: Any) -> models_pb2.Model:
        """Do what the request's name says."""
        self.handled.append(structlog.contextvars.get_contextvars())
        match request.name.removeprefix("models/"):
            case "missing":
                raise ModelNotFoundError("models/missing does not exist")
            case "broken":
                raise RuntimeError(INSIDE)
            case "stopping":
                raise DaemonStoppingError
            case "aborted":
                await context.abort(CODE.OUT_OF_RANGE, "by hand")
            case "slow":
                await asyncio.sleep(60)
        return models_pb2.Model(name=request.name)

    async def answers(self, request: models_pb2.GetModelRequest, context: Any) -> AsyncIterator[models_pb2.Model]:
        """Answer twice, then do what the request's name says."""
        try:
            yield models_pb2.Model(name="models/first")
            yield await self.answer(request, context)
        finally:
            self.closed.set()

    async def both_ways(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[models_pb2.Model]:
        """Answer every request of a stream."""
        del context
        async for request in requests:
            yield models_pb2.Model(name=request.name)

    def handlers(self) -> dict[str, Any]:
        """Return the service's methods."""
        codec: dict[str, Any] = {
            "request_deserializer": models_pb2.GetModelRequest.FromString,
            "response_serializer": models_pb2.Model.SerializeToString,
        }
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(cast(Any, self.answer), **codec),
            "Stream": grpc.unary_stream_rpc_method_handler(cast(Any, self.answers), **codec),
            "BothWays": grpc.stream_stream_rpc_method_handler(cast(Any, self.both_ways), **codec),
        }


@dataclass
class Bench:
    """The service behind the interceptor, and stubs for it."""

    calls: Calls
    channel: Any

    def unary(self, request: models_pb2.GetModelRequest, **options: Any) -> Any:
        """Call the unary method."""
        return self._stub("unary_unary", "Unary")(request, **options)

    def stream(self, request: models_pb2.GetModelRequest) -> Any:
        """Call the method that streams answers."""
        return self._stub("unary_stream", "Stream")(request)

    def both_ways(self, requests: list[models_pb2.GetModelRequest]) -> Any:
        """Call the method that streams both ways."""
        return self._stub("stream_stream", "BothWays")(iter(requests))

    def _stub(self, kind: str, method: str) -> Any:
        return getattr(self.channel, kind)(
            f"/{SERVICE}/{method}",
            request_serializer=models_pb2.GetModelRequest.SerializeToString,
            response_deserializer=models_pb2.Model.FromString,
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Yield a running service."""
    calls, ticks = Calls(), itertools.count()
    wrapping = ApiInterceptor(calls, lambda: float(next(ticks)), RequestStreams(limit=4, silence_s=0.3))
    server = grpc.aio.server(interceptors=(cast(Any, wrapping),), options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, calls.handlers()),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS) as channel:
        yield Bench(calls, channel)
    await server.stop(None)


def named(name: str) -> models_pb2.GetModelRequest:
    """Return a request that makes the service do what the name says."""
    return models_pb2.GetModelRequest(name=f"models/{name}")


async def all_of(answers: AsyncIterator[models_pb2.Model]) -> list[models_pb2.Model]:
    """Return every answer of a stream."""
    return [answer async for answer in answers]


async def test_a_call_is_timed_and_counted_once(bench: Bench) -> None:
    """Method, code and the seconds of the given clock reach the observer."""
    answer = await bench.unary(GOOD)
    assert answer.name == "models/m"
    assert bench.calls.ended == [("Unary", "OK", 1.0)]


async def test_a_wrong_field_never_reaches_the_method(bench: Bench) -> None:
    """The rules of the API's messages are checked before the method is called, also before the first answer of a stream."""
    for call in (bench.unary(named("A/b")), bench.stream(named("A/b")).read()):
        found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
        assert found.fields == {"name"}
    assert bench.calls.handled == []
    assert [code for _, code, _ in bench.calls.ended] == ["INVALID_ARGUMENT"] * 2


async def test_an_error_of_ours_keeps_its_reason(bench: Bench) -> None:
    """A typed error becomes its code with details, for one answer as for a stream that has answered already."""
    await failed(bench.unary(named("missing")), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)
    stream = bench.stream(named("missing"))
    assert (await stream.read()).name == "models/first"
    await failed(stream.read(), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)
    assert [end[:2] for end in bench.calls.ended] == [("Unary", "NOT_FOUND"), ("Stream", "NOT_FOUND")]


@pytest.mark.parametrize("name", ["A/b", "missing", "broken"])
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_what_is_refused_is_not_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    """A request that came to nothing is gone when its answer is there, and not when the garbage collector comes."""
    requests: list[Message] = []

    def noted(raw: bytes, from_bytes: Callable[[bytes], Message], method: str = "") -> Message:
        requests.append(parse(raw, from_bytes, method))
        return requests[-1]

    monkeypatch.setattr(interceptor, "parse", noted)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            call = bench.unary(named(name)) if kind == "unary" else all_of(bench.stream(named(name)))
            with pytest.raises(grpc.aio.AioRpcError):
                await call
        assert len(requests) == 3
        async with asyncio.timeout(10.0):
            # By this list alone, and by the question itself.
            while any(sys.getrefcount(requests[at]) > 2 for at in range(3)):
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_an_unexpected_error_says_nothing_of_the_inside(bench: Bench) -> None:
    """What a method did not mean to raise is INTERNAL, in words that are always the same."""
    for call in (bench.unary(named("broken")), bench.stream(named("broken"))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call if not hasattr(call, "read") else [answer async for answer in call]
        assert caught.value.code() is CODE.INTERNAL
        assert INSIDE not in str(caught.value)
        assert "log says more" in str(caught.value.details())
    assert [code for _, code, _ in bench.calls.ended] == ["INTERNAL", "INTERNAL"]


async def test_a_daemon_that_stops_says_when_to_call_again(bench: Bench) -> None:
    """UNAVAILABLE with a delay, so that clients go on by themselves."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.unary(named("stopping"))
    assert caught.value.code() is CODE.UNAVAILABLE
    trailers = dict(cast(Any, caught.value.trailing_metadata()))
    assert error_details_pb2.RetryInfo.DESCRIPTOR.full_name.encode() in trailers["grpc-status-details-bin"]


async def test_a_method_that_aborts_is_counted_by_its_code(bench: Bench) -> None:
    """What a method says to gRPC itself is passed on as it is."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.unary(named("aborted"))
    assert (caught.value.code(), caught.value.details()) == (CODE.OUT_OF_RANGE, "by hand")
    async with asyncio.timeout(5):
        await bench.calls.told.wait()  # the caller has its status before the aborted method has returned
    assert [end[:2] for end in bench.calls.ended] == [("Unary", "OUT_OF_RANGE")]


async def test_a_caller_that_goes_is_counted_and_its_stream_closed(bench: Bench) -> None:
    """A cancelled call is CANCELLED once; a stream's own clean-up runs at once, not when its garbage is collected."""
    stream = bench.stream(named("slow"))
    await stream.read()
    stream.cancel()
    async with asyncio.timeout(5):
        await bench.calls.closed.wait()
        await bench.calls.told.wait()
    assert [end[:2] for end in bench.calls.ended] == [("Stream", "CANCELLED")]


async def test_streams_of_requests_pass_untouched(bench: Bench) -> None:
    """They check and count for themselves (ADS, LRS): neither rules nor observer see them."""
    answers = [answer.name async for answer in bench.both_ways([GOOD, named("A/b")])]
    assert answers == ["models/m", "models/A/b"]
    assert bench.calls.ended == []


async def test_streams_of_requests_are_bounded(bench: Bench) -> None:
    """Of more than a connection may have the rest is refused at once, and says why; what ends makes room."""
    method = bench.channel.stream_stream(f"/{SERVICE}/BothWays")
    calls = [method() for _ in range(4)]
    for call in calls:
        await call.write(GOOD.SerializeToString())
        await call.read()
    more = bench.both_ways([GOOD])
    found = await failed(more.read(), Reason.LIMIT_EXCEEDED, CODE.RESOURCE_EXHAUSTED)
    assert "streams of requests" in found.message
    await calls[0].done_writing()
    assert await calls[0].code() is CODE.OK
    assert (await bench.both_ways([GOOD]).read()).name == "models/m"


async def test_a_silent_stream_of_requests_ends(bench: Bench) -> None:
    """Who says nothing for the allowed time is told so; each request begins it anew."""
    method = bench.channel.stream_stream(f"/{SERVICE}/BothWays")
    silent = method()
    busy = method()
    for _ in range(5):
        await busy.write(GOOD.SerializeToString())
        await busy.read()
        await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        assert await silent.code() is CODE.DEADLINE_EXCEEDED
    assert "no request came for 0.3 s" in await silent.details()
    await busy.done_writing()
    assert await busy.code() is CODE.OK


async def test_log_lines_of_a_call_know_whose_they_are(bench: Bench) -> None:
    """Method and the caller's request id are bound for the call alone; a long id is cut."""
    await bench.unary(GOOD, metadata=(("x-request-id", "r" * 100),))
    await bench.unary(GOOD)
    first, second = bench.calls.handled
    assert (first["method"], first["request_id"]) == (f"/{SERVICE}/Unary", "r" * 64)
    assert second["request_id"] == ""
    assert first["peer"].startswith("ipv4:127.0.0.1:")
    assert structlog.contextvars.get_contextvars() == {}
