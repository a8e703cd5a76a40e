"""A gateway with everything around it but the daemon: control plane on its own socket, supervisor, real Envoy, servers as engines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, IncompleteRead
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.gateway.binary import find_envoy
from echoplaned.gateway.launching import last_words
from echoplaned.gateway.options import GatewayOptions, access_log, control_socket, gateway_dir
from echoplaned.gateway.stopping import stop_gateway
from echoplaned.gateway.supervisor import GatewaySupervisor
from echoplaned.ports.door_clients import NOBODY, DoorClients
from echoplaned.ports.gateway import GatewayState
from echoplaned.ports.transcoding import TranscodedServices
from echoplaned.testing.daemon import free_port
from echoplaned.xds.ads import AdsOptions, AdsService
from echoplaned.xds.door.listener import REQUEST_TIMEOUT_S, DoorOptions, build_door_listener
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.options import BARE_FRAME, DoorFrame, server_options
from echoplaned.xds.publisher import Publisher
from tests.xds import xds_harness as h
from tests.xds.openai_backend import OpenAiBackend, openai_backend

TOTAL = 1_000_000
CHAT = "/v1/chat/completions"


@dataclass
class GatewayStage:
    """A running gateway in front of two versions of one model.

    Attributes:
        options: how Envoy is run.
        publisher: what it is served.
        observer: what it made of that.
        engines: the two versions' servers of OpenAI's API.
        oip: where the two versions answer gRPC.
        supervisor: keeps Envoy running.
        epoch: of the newest routes.
    """

    options: GatewayOptions
    publisher: Publisher
    observer: h.Recorder
    engines: tuple[OpenAiBackend, OpenAiBackend]
    oip: tuple[str, str]
    supervisor: GatewaySupervisor
    epoch: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """Ask the gateway on a connection of its own."""
        return await asyncio.to_thread(ask, self.options.listening, method, path, body, headers)

    async def chat(self, model: str = "m", **headers: str) -> Answer:
        """Ask a model in the body."""
        return await self.ask("POST", CHAT, {"model": model}, headers)

    def routes(self, weight: int, model: str = "m", **changes: Any) -> ModelRoutes:
        """Make routes: the second version's weight of a million."""
        self.epoch += 1
        clusters = [
            ClusterView(
                backend.name,
                share,
                (RouteEndpoint(address),),
                routed=share > 0,
                openai=(RouteEndpoint(backend.address),),
                oip_http=True,
            )
            for backend, address, share in zip(self.engines, self.oip, (TOTAL - weight, weight), strict=True)
        ]
        return replace(ModelRoutes(model, self.epoch, tuple(clusters)), **changes)

    async def shift(self, weight: int, model: str = "m", **changes: Any) -> None:
        """Publish routes and wait until Envoy has them."""
        self.publisher.publish_model(self.routes(weight, model, **changes))
        await self.observer.until_acknowledged(model, self.epoch)

    async def serving(self, timeout_s: float = 30.0) -> None:
        """Wait until the gateway serves."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.supervisor.status.state is not GatewayState.SERVING:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{self.supervisor.status} {self.observer.lines[-3:]} {last_words(self.options)}")

    def supervise(self, **changes: Any) -> None:
        """Put another supervisor in charge, as a daemon that is started again does."""
        self.options = replace(self.options, **changes)
        self.supervisor = GatewaySupervisor(self.options, time.monotonic)
        self.tasks.append(asyncio.create_task(self.supervisor.run()))

    async def leave(self) -> None:
        """End the supervisor, and leave Envoy."""
        self.tasks[-1].cancel()
        await asyncio.gather(self.tasks[-1], return_exceptions=True)
        await self.supervisor.close()

    def access_lines(self) -> list[dict[str, Any]]:
        """Return the access log."""
        return [json.loads(line) for line in access_log(self.options.state_dir).read_text().splitlines()]


@contextlib.asynccontextmanager
async def private_control_plane(
    state_dir: Path, door: DoorOptions, frame: DoorFrame = BARE_FRAME, handlers: tuple[Any, ...] = ()
) -> AsyncIterator[tuple[Publisher, h.Recorder]]:
    """Serve the gateway's resources on its own socket."""
    gateway_dir(state_dir).mkdir(parents=True, mode=0o700, exist_ok=True)
    (state_dir / "logs").mkdir(exist_ok=True)
    observer, clock = h.Recorder(), asyncio.get_running_loop().time
    publisher = Publisher(observer, clock, frame=frame)
    ads = AdsService(publisher, AdsOptions(expire_interval_s=0.05), door=build_door_listener(door))
    lrs = LoadReportService(observer, clock)
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((ads.handler(), lrs.handler(), *handlers))
    server.add_insecure_port(f"unix:{control_socket(state_dir)}")
    await server.start()
    ticker = asyncio.create_task(ads.run())
    try:
        yield publisher, observer
    finally:
        ads.close()
        lrs.close()
        ticker.cancel()
        await server.stop(1.0)


def _resolved(folder: str) -> Path:
    return Path(folder).resolve()


@contextlib.asynccontextmanager
async def gateway_stage(
    transcoded: TranscodedServices | None = None,
    handlers: tuple[Any, ...] = (),
    cors_origins: tuple[str, ...] = (),
    *,
    clients: DoorClients = NOBODY,
    request_timeout_s: float = REQUEST_TIMEOUT_S,
    usage: bool = False,
) -> AsyncIterator[GatewayStage]:
    """Start everything, with all weight on the first version of the model ``m``."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        # A socket's path is short, a test's folder need not be.
        # A start that was under way when the supervisor left may still write its log while the folder goes.
        folder = tempfile.TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True)
        state_dir = _resolved(stack.enter_context(folder))
        engines = (await enter(openai_backend("v1")), await enter(openai_backend("v2", state_dir / "e.sock")))
        oip = (await enter(h.backend("v1")), await enter(h.backend("v2")))
        port = free_port()
        options = GatewayOptions(state_dir, f"127.0.0.1:{port}", find_envoy(), concurrency=1, drain_s=5.0)
        door = DoorOptions(
            "127.0.0.1",
            port,
            access_log(state_dir),
            transcoded,
            clients.required,
            usage=usage,
            request_timeout_s=request_timeout_s,
        )
        frame = DoorFrame(transcoded.paths if transcoded else (), cors_origins)
        publisher, observer = await enter(private_control_plane(state_dir, door, frame, handlers))
        publisher.publish_clients(clients)
        publisher.open({})
        found = GatewayStage(options, publisher, observer, engines, oip, GatewaySupervisor(options, time.monotonic))
        found.supervise()
        try:
            publisher.publish_model(found.routes(0))
            await found.serving()
            await observer.until(lambda: "subscribers m 1" in observer.lines)
            await observer.until_acknowledged("m", found.epoch)
            yield found
        finally:
            await found.leave()
            await stop_gateway(state_dir)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: its status, its headers in lower case, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        assert self.headers["content-type"].startswith("application/json"), self
        return json.loads(self.body)


class CutAnswerError(HTTPException):
    """An answer that began and did not end. ``headers``: those that it began with, in lower case."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("its body is cut")
        self.headers = headers


def ask(listening: str, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
    """Ask on a connection of its own; a body that is not bytes is sent as JSON.

    Raises:
        CutAnswerError: the connection ended before the answer did.
    """
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with contextlib.closing(HTTPConnection(listening, timeout=30.0)) as connection:
        connection.request(method, path, content, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        try:
            return Answer(answer.status, found, answer.read())
        except IncompleteRead as error:
            raise CutAnswerError(found) from error
