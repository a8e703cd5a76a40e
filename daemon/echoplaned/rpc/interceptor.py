"""What every call goes through.

Validation, log context, errors as rich statuses, counting.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status

from echoplane.googleapis import error_details_pb2, status_pb2
from echoplaned.core.errors import DaemonError
from echoplaned.rpc.convert.common import duration
from echoplaned.rpc.deps import RpcObserver
from echoplaned.rpc.following import closing
from echoplaned.rpc.lifecycle import DaemonStoppingError
from echoplaned.rpc.peer import set_peer
from echoplaned.rpc.request_streams import RequestStreams
from echoplaned.rpc.status import to_trailer
from echoplaned.rpc.validate import check, parse

# The stubs know neither the aio handlers nor all of the context; what is generic there is not at run time.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = Any
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

REQUEST_ID_HEADER = "x-request-id"
MAX_LOGGED_ID = 64
_CHECKED_PACKAGES = ("echoplane.v1.", "google.longrunning.", "inference.Repository")
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_QUIET = ("Get", "List", "Check", "Watch", "Server", "Model")

if TYPE_CHECKING:  # generic in the stubs, and not at run time
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor

log = structlog.stdlib.get_logger(__name__)


class ApiInterceptor(_Interceptor):
    """Wraps every method that takes one request, and reads the request.

    gRPC itself answers INTERNAL for bytes that are no message.
    Streams of requests (reflection) are counted and read, and no rule is judged; those that read bytes themselves (ADS, LRS) pass
    through untouched.

    Args:
        observer: hears of every call's end.
        monotonic: seconds of a clock that never goes back.
        streams: counts streams of requests, of all servers together.
    """

    def __init__(self, observer: RpcObserver, monotonic: Callable[[], float], streams: RequestStreams) -> None:
        self._observer = observer
        self._monotonic = monotonic
        self._streams = streams
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the method's handler, wrapped once."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        return self.wrap(method, await continuation(handler_call_details))

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return a method's handler with all that this interceptor does around it.

        One that is wrapped already stays as it is.
        """
        if handler is None or handler.request_deserializer is None:
            return handler
        if handler.request_streaming:
            if not inspect.isasyncgenfunction(handler.stream_stream):
                return handler  # it reads by itself
            wrapped = self._streams.wrap(method, handler)
        else:
            wrapped = self._stream(method, handler) if handler.response_streaming else self._unary(method, handler)
        self._wrapped[method] = wrapped
        return wrapped

    def _unary(self, method: str, handler: Handler) -> Handler:
        behaviour = handler.unary_unary

        async def answer_one(raw: bytes, context: Context) -> Message:
            answer: Message = await behaviour(_read(method, handler, raw, context), context)
            return answer

        async def call(raw: bytes, context: Context) -> Message:
            ended = _Ended(self._observer, method, self._monotonic)
            try:
                answer = await answer_one(raw, context)
            except asyncio.CancelledError:
                ended.record(grpc.StatusCode.CANCELLED.name)
                raise
            except grpc.aio.AbortError:
                ended.record(_code_name(context))
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing of an error may leave but its status
                del raw
                await _abort(context, error, ended)
            ended.record("OK")
            return answer

        return grpc.unary_unary_rpc_method_handler(cast(Any, call), response_serializer=handler.response_serializer)

    def _stream(self, method: str, handler: Handler) -> Handler:
        behaviour = handler.unary_stream

        async def call(raw: bytes, context: Context) -> AsyncIterator[Message]:
            ended = _Ended(self._observer, method, self._monotonic)
            try:
                async with closing(behaviour(_read(method, handler, raw, context), context)) as answers:
                    async for answer in answers:
                        yield answer
            except (asyncio.CancelledError, GeneratorExit):
                ended.record(grpc.StatusCode.CANCELLED.name)
                raise
            except grpc.aio.AbortError:
                ended.record(_code_name(context))
                raise
            except Exception as error:  # noqa: BLE001 - as above
                del raw
                await _abort(context, error, ended)
            ended.record("OK")

        return grpc.unary_stream_rpc_method_handler(cast(Any, call), response_serializer=handler.response_serializer)


class _Ended:
    """Reports once, to the observer and the log, how a call ended."""

    def __init__(self, observer: RpcObserver, method: str, monotonic: Callable[[], float]) -> None:
        self._observer = observer
        self._method = method
        self._monotonic = monotonic
        self._began = monotonic()

    def record(self, code: str, reason: str = "") -> None:
        """Note the call's end."""
        seconds = self._monotonic() - self._began
        self._observer.rpc_ended(self._method, code, seconds)
        name = self._method.rpartition("/")[2]
        quiet = code == "OK" and name.startswith(_QUIET)
        (log.debug if quiet else log.info)("rpc", code=code, reason=reason, seconds=round(seconds, 6))


def _read(method: str, handler: Handler, raw: bytes, context: Context) -> Message:
    """Return a call's request, checked, and bind the call to its log lines.

    What tells calls apart is put on every line that the call logs.

    Raises:
        FieldInvalidError: it is none, or breaks a rule.
    """
    # A call is a task of its own with a context of its own: what is bound here ends with it.
    structlog.contextvars.clear_contextvars()
    peer = context.peer()
    set_peer(peer)
    structlog.contextvars.bind_contextvars(method=method, request_id=_header_id(context), peer=peer)
    request = parse(raw, handler.request_deserializer, method)
    if own := getattr(request, "request_id", ""):
        structlog.contextvars.bind_contextvars(request_id=str(own)[:MAX_LOGGED_ID])
    if request.DESCRIPTOR.full_name.startswith(_CHECKED_PACKAGES):
        check(request)
    return request


def _header_id(context: Context) -> str:
    metadata = context.invocation_metadata() or ()
    return next((str(value)[:MAX_LOGGED_ID] for key, value in metadata if key == REQUEST_ID_HEADER), "")


def _code_name(context: Context) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN.name


def status_of(error: Exception) -> status_pb2.Status:
    """Return what a caller is told of an error: nothing of one that is none of ours."""
    if isinstance(error, DaemonError):
        return to_trailer(error.failure)
    if isinstance(error, DaemonStoppingError):
        status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="the daemon stops: call again")
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration(1.0)))
        return status
    return status_pb2.Status(
        code=grpc.StatusCode.INTERNAL.value[0], message="internal error: the daemon's log says more"
    )


async def _abort(context: Context, error: Exception, ended: _Ended) -> NoReturn:
    """End a call with an error.

    gRPC's asyncio library keeps what ends a call together with it until the garbage collector comes. So that this holds nothing of the
    request, the error goes without its frames, and the caller of this has let go of the request.
    """
    status = status_of(error)
    if status.code == grpc.StatusCode.INTERNAL.value[0] and not isinstance(error, DaemonError):
        log.error("rpc.failed", exc_info=error)
    ended.record(_NAMES[status.code], error.failure.reason.value if isinstance(error, DaemonError) else "")
    error.__traceback__ = error.__context__ = error.__cause__ = None
    await cast(Any, context).abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status always raises")  # for the type checker: the stub says that it returns
