"""The daemon's life: it recovers, serves until told to stop, closes in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

import structlog

from echoplaned.addresses import Address
from echoplaned.composition import Daemon
from echoplaned.core.events import Recovered
from echoplaned.core.queries import owned_engines
from echoplaned.engines.unowned import refuse_unowned
from echoplaned.gateway.stopping import stop_gateway
from echoplaned.rpc.server import compile_all_rules
from echoplaned.runtime.heap import GlibcHeap, HeapTrimmer

log = structlog.get_logger(__name__)


class ListenError(Exception):
    """The address cannot be listened on."""


Beside = Callable[[str], Awaitable[None]]
"""What is done beside the daemon once it serves; it is given the address, and what it raises ends the daemon."""


async def run(daemon: Daemon, beside: Beside | None = None) -> None:
    """Recover, then serve until SIGTERM or SIGINT.

    Engines that serve go on; the next daemon adopts them. ``beside``: None: nothing.

    Raises:
        ListenError: the address is taken.
        AddressTakenError: the gateway's address is.
        UnownedEnginesError: the database is empty, and engines serve.
    """
    settings = daemon.settings
    try:
        port = daemon.server.add_insecure_port(str(settings.listen))
    except RuntimeError as error:
        raise ListenError(
            f"cannot listen on {settings.listen}: {error}. Is another daemon running? --listen HOST:PORT takes another address"
        ) from error
    if daemon.socket is None:
        log.warning(
            "api.no_socket", reason="the state directory's path is too long for one", state_dir=str(settings.state_dir)
        )
    if daemon.door is not None:
        daemon.door.check()  # before engines are adopted and started, which a daemon that does not come up would leave behind
    await recover(daemon)
    if daemon.door is not None:
        await daemon.door.start()
    elif await stop_gateway(settings.state_dir):
        log.info("gateway.stopped", reason="no --gateway-listen is given")
    background = [
        asyncio.create_task(daemon.loop.run(settings.tick_interval_s), name="loop"),
        asyncio.create_task(daemon.xds.ads.run(), name="ads"),
        asyncio.create_task(daemon.history.run(), name="history"),
        asyncio.create_task(HeapTrimmer(GlibcHeap()).run(), name="heap"),
        asyncio.create_task(daemon.sampler.run(), name="memory"),
        asyncio.create_task(daemon.tokens.run(), name="tokens"),
    ]
    if daemon.door is not None:
        background.append(asyncio.create_task(daemon.door.run(), name="gateway"))
    stopping = asyncio.create_task(_wait_for_signal(), name="signals")
    if daemon.socket is not None:
        await daemon.socket.open()
        background.append(asyncio.create_task(_accompany(daemon.socket.wait()), name="socket"))
    await daemon.server.start()
    address = str(Address(settings.listen.host, port))
    log.info("daemon.serving", address=address, state_dir=str(settings.state_dir))
    background.append(asyncio.create_task(_accompany(compile_all_rules()), name="rules"))
    if beside is not None:
        background.append(asyncio.create_task(_accompany(beside(address)), name="beside"))
    try:
        await asyncio.wait([*background, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in background:
            if task.done():
                task.result()  # a loop never ends by itself; whatever ended it must be seen
    finally:
        await close(daemon, [*background, stopping])


async def _accompany(beside: Awaitable[None]) -> None:
    """Do what is done beside the daemon; its end is not the daemon's."""
    await beside
    await asyncio.Event().wait()


async def recover(daemon: Daemon) -> None:
    """Go on where the store says.

    Adopt engines, hand out every implied effect, then let xDS streams in.

    Raises:
        UnownedEnginesError: nothing was ever written to the store, and engines serve.
    """
    settings = daemon.settings
    if daemon.loop.state.store_epoch == 0 and not settings.sweep_unowned:
        await asyncio.to_thread(refuse_unowned, settings.state_dir.resolve())
    found = await daemon.engines.adopt()
    await daemon.loop.handle(await daemon.sampler.first())
    if daemon.clock_shift_s:
        log.warning("clock.set", seconds=daemon.clock_shift_s)
    await daemon.loop.handle(Recovered(daemon.clock(), found, daemon.clock_shift_s))
    killed = await daemon.engines.sweep(owned_engines(daemon.loop.state))
    daemon.xds.traffic.open()
    daemon.engines.open()
    log.info("daemon.recovered", models=len(daemon.loop.state.models), adopted=len(found), swept=killed)


async def close(daemon: Daemon, background: list[asyncio.Task[None]]) -> None:
    """End everything in order and leave the engines running.

    First there are no new calls, then no more events; the store is closed last.
    """
    daemon.lifecycle.begin_stop()
    daemon.xds.ads.close()
    daemon.xds.lrs.close()
    if daemon.door is not None:
        await daemon.door.close()
    grace = daemon.settings.shutdown_grace_s
    servers = [daemon.server, *([daemon.socket.server] if daemon.socket is not None else [])]
    with contextlib.suppress(TimeoutError):
        # grpc.aio's own grace does not always end; the outer deadline does.
        async with asyncio.timeout(grace + 2.0):
            await asyncio.gather(*(server.stop(grace) for server in servers))
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await daemon.planner.aclose()
    await daemon.gates.aclose()
    await daemon.engines.close()
    await daemon.tokens.save()
    await daemon.prober.close()
    await daemon.scorer.close()
    await daemon.loop.close()
    log.info("daemon.stopped")


async def _wait_for_signal() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
