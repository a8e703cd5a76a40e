"""A real gRPC server that speaks the API by a script, and the two clients behind one face."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from typer.testing import CliRunner

from echoplane import AsyncClient, Client, ClientOptions, RetryPolicy
from echoplane.cli import app
from echoplane.googleapis import error_details_pb2, operations_pb2, status_pb2
from echoplane.inference import grpc_service_pb2
from echoplane.v1 import diagnostics_pb2, keys_pb2, models_pb2, planning_pb2, rollouts_pb2

SERVICES = [
    service
    for module in (models_pb2, rollouts_pb2, planning_pb2, diagnostics_pb2, keys_pb2, operations_pb2, grpc_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
QUICK = RetryPolicy(max_attempts=4, initial_s=0.001, max_s=0.002)


if TYPE_CHECKING:  # generic in the stubs, and not at run time
    _Handler = grpc.GenericRpcHandler[Any, Any]
else:
    _Handler = grpc.GenericRpcHandler


class Refusal:
    """An answer that is a status."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Message) -> None:
        self.status = status_pb2.Status(code=code.value[0], message=message)
        self.code = code
        for detail in details:
            self.status.details.add().Pack(detail)


def refusal(code: grpc.StatusCode, reason: str, message: str, *details: Message) -> Refusal:
    """Return a status with our ErrorInfo and more details."""
    return Refusal(code, message, error_details_pb2.ErrorInfo(reason=reason, domain="echoplane.dev"), *details)


class ScriptedDaemon(_Handler):
    """Answers each method by what a test put there: a message, a refusal, or a function of the request; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, str]] = []
        self._answers: dict[str, list[Any]] = {}
        self._server: grpc.Server | None = None
        self.port = 0
        self.socket = ""
        self.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before, and on the unix socket that a test named."""
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        if self.socket:
            self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def stop(self) -> None:
        """Go away."""
        if self._server is not None:
            self._server.stop(None).wait()

    def on(self, method: str, *answers: Any) -> None:
        """Answer calls of a method in turn."""
        self._answers[method] = list(answers)

    def seen(self, method: str) -> list[Any]:
        """Requests of a method, in the order of arrival."""
        return [request for name, request in self.requests if name == method]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Find the handler of a method."""
        method = METHODS.get(handler_call_details.method)
        if method is None:
            return None
        behaviour = self._stream if method.server_streaming else self._unary
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        return make(
            lambda request, context: behaviour(method.name, request, context),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _take(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append((name, request))
        answers = self._answers.get(name)
        if not answers:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} is not in the script")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(request) if callable(answer) and not isinstance(answer, Message) else answer

    def _unary(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        answer = self._take(name, request, context)
        if name == "ModelInfer":
            context.set_trailing_metadata((("echoplane-version", "int8"),))
        return self._refuse(answer, context) if isinstance(answer, Refusal) else answer

    def _stream(self, name: str, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for item in self._take(name, request, context):
            if isinstance(item, Refusal):
                self._refuse(item, context)
            yield item

    def _refuse(self, answer: Refusal, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", answer.status.SerializeToString()),))
        context.abort(answer.code, answer.status.message)


class Caller:
    """The synchronous client, or the aio client made synchronous; iterators become lists."""

    def __init__(self, kind: str, address: str, options: ClientOptions) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client: Any = Client(address, options) if kind == "sync" else self._run(self._make(address, options))
        self._kind = kind

    @staticmethod
    async def _make(address: str, options: ClientOptions) -> AsyncClient:
        return AsyncClient(address, options)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._kind == "sync":
                answer = getattr(self._client, name)(*args, **options)
                return list(answer) if isinstance(answer, Iterator) else answer
            return self._run(self._finish(getattr(self._client, name)(*args, **options)))

        return call

    @staticmethod
    async def _finish(answer: Any) -> Any:
        return [item async for item in answer] if hasattr(answer, "__aiter__") else await answer

    def shut(self) -> None:
        """Close the client and end the loop."""
        if self._kind == "sync":
            self._client.close()
        else:
            self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    """A scripted daemon on a port of its own."""
    scripted = ScriptedDaemon()
    yield scripted
    scripted.stop()


@pytest.fixture
def options() -> ClientOptions:
    """Options that lose no time."""
    return ClientOptions(timeout_s=10, retry=QUICK, poll_initial_s=0.001, poll_max_s=0.01)


@pytest.fixture(params=["sync", "aio"])
def caller(request: pytest.FixtureRequest, daemon: ScriptedDaemon, options: ClientOptions) -> Iterator[Caller]:
    """Each of the two clients."""
    made = Caller(request.param, daemon.address, options)
    yield made
    made.shut()


@pytest.fixture(scope="session")
def refuse() -> Callable[..., Refusal]:
    """Make a refusal with a reason and details."""
    return refusal


@pytest.fixture(scope="session")
def running() -> Callable[..., operations_pb2.Operation]:
    """Make an operation: under way, done with a response, or done with an error."""
    return operation


def operation(
    metadata: Message, response: Message | None = None, error: Refusal | None = None, name: str = "operations/o1"
) -> operations_pb2.Operation:
    """Return an operation in the state that the arguments say."""
    made = operations_pb2.Operation(name=name, done=response is not None or error is not None)
    made.metadata.Pack(metadata)
    if response is not None:
        made.response.Pack(response)
    if error is not None:
        made.error.CopyFrom(error.status)
    return made


@pytest.fixture
def cli(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command against the scripted daemon."""
    monkeypatch.setenv("ECHOPLANE_ADDRESS", daemon.address)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments))
