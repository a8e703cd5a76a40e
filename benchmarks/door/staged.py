"""The real publisher, ADS and Envoy without a daemon around them: so many models are more engines than a machine can run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc.aio
import psutil

from benchmarks.door.world import short_folder
from benchmarks.xds.push import Waiter
from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.gateway.binary import find_envoy
from echoplaned.gateway.options import GatewayOptions, access_log, control_socket, gateway_dir
from echoplaned.gateway.stopping import stop_gateway
from echoplaned.gateway.supervisor import GatewaySupervisor
from echoplaned.ports.gateway import GatewayState
from echoplaned.rpc.rest.descriptors import transcoded_services
from echoplaned.testing.daemon import free_port
from echoplaned.xds.ads import AdsService
from echoplaned.xds.door.listener import DoorOptions, build_door_listener
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.options import DoorFrame, server_options
from echoplaned.xds.publisher import Publisher

TOTAL_PPM: Final = 1_000_000
FIRST, SECOND = "v1", "v2"
_START_S: Final = 120.0
_NOBODY: Final = "127.0.0.1:9"
"""Where the other models' engines would answer gRPC: nobody calls them."""


@dataclass
class Stage:
    """A gateway whose models are made up; ``backend`` answers for all of them. ``epoch``: of the newest routes."""

    publisher: Publisher
    waiter: Waiter
    supervisor: GatewaySupervisor
    listening: str
    backend: str
    epoch: int = 0

    def routes(self, model: str, second_ppm: int = 0) -> ModelRoutes:
        """Return a model's routes: two versions while its second one has a share, or has had one."""
        self.epoch += 1
        shares = {FIRST: TOTAL_PPM - second_ppm, SECOND: second_ppm}
        return ModelRoutes(
            model,
            self.epoch,
            tuple(
                ClusterView(
                    version,
                    share,
                    (RouteEndpoint(_NOBODY),),
                    routed=share > 0,
                    openai=(RouteEndpoint(self.backend),),
                    oip_http=True,
                )
                for version, share in shares.items()
            ),
        )

    async def publish(self, model: str, second_ppm: int) -> float:
        """Publish a model's weights; return the seconds until Envoy acknowledged them."""
        routes = self.routes(model, second_ppm)
        began_s = time.perf_counter()
        done = self.waiter.expect(routes.epoch)
        self.publisher.publish_model(routes)
        return await done - began_s

    def envoy(self) -> psutil.Process:
        """Return Envoy's process."""
        return psutil.Process(self.supervisor.status.pid)


@contextlib.asynccontextmanager
async def staged(models: tuple[str, ...], backend: str) -> AsyncIterator[Stage]:
    """Serve these models until the block's end; Envoy has all of them by then."""
    with short_folder() as folder:
        listening = f"127.0.0.1:{free_port()}"
        async with _control_plane(folder, listening) as (publisher, waiter):
            options = GatewayOptions(folder, listening, find_envoy(), concurrency=1)
            stage = Stage(publisher, waiter, GatewaySupervisor(options, time.monotonic), listening, backend)
            publisher.open({model: stage.routes(model) for model in models})
            running = asyncio.create_task(stage.supervisor.run())
            try:
                await _until_serving(stage)
                await stage.publish(models[0], 0)
                yield stage
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await stage.supervisor.close()
                await stop_gateway(folder)


@contextlib.asynccontextmanager
async def _control_plane(folder: Path, listening: str) -> AsyncIterator[tuple[Publisher, Waiter]]:
    gateway_dir(folder).mkdir(parents=True, mode=0o700)
    (folder / "logs").mkdir()
    host, _, port = listening.rpartition(":")
    rest = transcoded_services()
    waiter, clock = Waiter(), asyncio.get_running_loop().time
    publisher = Publisher(waiter, clock, frame=DoorFrame(rest.paths))
    ads = AdsService(publisher, door=build_door_listener(DoorOptions(host, int(port), access_log(folder), rest)))
    lrs = LoadReportService(waiter, clock)
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((ads.handler(), lrs.handler()))
    server.add_insecure_port(f"unix:{control_socket(folder)}")
    await server.start()
    ticker = asyncio.create_task(ads.run())
    try:
        yield publisher, waiter
    finally:
        ads.close()
        lrs.close()
        ticker.cancel()
        await server.stop(1.0)


async def _until_serving(stage: Stage) -> None:
    async with asyncio.timeout(_START_S):
        while stage.supervisor.status.state is not GatewayState.SERVING:  # noqa: ASYNC110 - nothing is measured yet
            await asyncio.sleep(0.05)
