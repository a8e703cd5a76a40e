"""An adapter that raises for one of ten models: the caller is answered, nine are served, and the daemon says what is wrong.

The daemon runs in this process, over real engines; the test stands between its loop and its adapters.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from echoplane import AsyncClient, ClientOptions, RetryPolicy
from echoplane.v1 import models_pb2, types_pb2
from echoplaned import composition, serving
from echoplaned.core import effects as fx
from echoplaned.core import fault
from echoplaned.core.state import State
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.settings import Settings, load_settings
from echoplaned.store import SqlStore
from echoplaned.telemetry.loop_observer import LoopObserver
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.hostile.hostile_door import PACED_ENGINE

NINE = tuple(f"good{n}" for n in range(9))
RETRIES_S = (0.1, 0.2, 0.3)


class PanicError(BaseException):
    """Stands for a panic in Rust, which is no Exception."""


@dataclass
class Poison:
    """Which model each adapter raises for; empty: for none."""

    planner: str = ""
    publisher: str = ""
    gates: str = ""
    engine: str = ""
    raised: list[str] = field(default_factory=list)

    def drink(self, adapter: str, model: str, error: BaseException) -> None:
        """Raise, if an adapter is poisoned for a model."""
        if model == getattr(self, adapter):
            self.raised.append(adapter)
            raise error


@dataclass(frozen=True, slots=True)
class PoisonedDispatcher(Dispatcher):
    """Hands effects to the adapters, but for those that are poisoned."""

    poison: Poison

    def perform(self, effect: fx.Effect, state: State) -> None:
        """Raise as the adapter would, in its call."""
        poison = self.poison
        match effect:
            case fx.PlaceInstance():
                poison.drink("planner", effect.instance.version.model, ValueError("no device has a name"))
            case fx.PublishRoutes():
                poison.drink("publisher", effect.model, PanicError("index out of bounds"))
            case fx.EvaluateGates():
                poison.drink("gates", effect.rollout.model, PanicError("attempt to divide by zero"))
            case _:
                pass
        Dispatcher.perform(self, effect, state)


@dataclass
class House:
    """A daemon in this process, and a client of it."""

    daemon: composition.Daemon
    client: AsyncClient

    async def until(self, came_true: Callable[[], bool], timeout_s: float = e.LOAD_S) -> None:
        """Wait until something is true of the daemon's state."""
        async with asyncio.timeout(timeout_s):
            while not came_true():
                await asyncio.sleep(0.02)

    async def load(self, model: str, source: str, **shape: Any) -> None:
        """Ask for a model; the answer must come at once, whatever becomes of the load."""
        request = models_pb2.LoadModelRequest(model_id=model, version_id="v1", source_uri=source, **shape)
        operation = await self.client.load_model(request, timeout_s=20.0)
        assert operation.name.startswith("operations/")

    async def serves(self, *models: str) -> None:
        """Make a real inference on each of these models; clients have routes to each."""
        for model in models:
            health = await self.client.check_health(model, timeout_s=60.0)
            assert health.state == types_pb2.HEALTH_STATE_SERVING, (model, health)
            assert model in self.daemon.xds.publisher.snapshot.models

    async def alarms(self) -> list[str]:
        """Return what GetStatus says is wrong."""
        status = await self.client.get_status()
        return list(status.alarms)

    def failure(self, model: str) -> str:
        """Return the reason why a model's version is down; empty: it is not."""
        version = self.daemon.loop.state.models[model].versions["v1"]
        return "" if version.failure is None else version.failure.reason.value


@asynccontextmanager
async def running(settings: Settings, poison: Poison, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Run a daemon whose adapters are poisoned."""
    # A traceback drawn with every value in it takes seconds.
    with capture_logs(), closing(SqlStore.open(settings.state_dir)) as store:
        daemon = composition.assemble(settings, store)
        observer = LoopObserver(daemon.engines)
        adapters = (daemon.planner, daemon.engines, daemon.xds.traffic, daemon.gates, observer)
        daemon.loop.connect(PoisonedDispatcher(*adapters, poison))
        start = daemon.engines._start

        async def poisoned_start(effect: fx.StartEngine) -> None:
            poison.drink("engine", effect.instance.version.model, SystemExit("a job of the engine's"))
            await start(effect)

        monkeypatch.setattr(daemon.engines, "_start", poisoned_start)
        task = asyncio.create_task(serving.run(daemon))
        options = ClientOptions(retry=RetryPolicy(max_attempts=20))
        try:
            async with AsyncClient(str(settings.listen), options) as client:
                yield House(daemon, client)
                assert not task.done(), "nothing that an adapter raises ends the daemon"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def small_engine(number: int) -> dict[str, Any]:
    """Return what loads an engine that starts in no time; it writes what it counts under its context's number."""
    options = {"memory_bytes": str(64 << 20), "health_route": "/health"}
    return {"engine": "command", "context_length": 128 + number, "engine_options": options}


@pytest.fixture
def settings(tmp_path: Path, made: e.Checkpoints, bytecode: Path) -> Iterator[Settings]:
    """Settings of a daemon of the test's own; its engines end with the test."""
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)
    (state_dir / "bytecode").symlink_to(bytecode)
    (state_dir / "daemon.lock").touch(mode=0o600)
    program = shlex.join([sys.executable, "-S", str(PACED_ENGINE), str(tmp_path)])
    yield load_settings(
        {
            "engines": [f"command={program} {{name}} {{port}} {{context_length}} {{model}}"],
            "listen": f"127.0.0.1:{free_port()}",
            "state_dir": state_dir,
            "model_roots": [made.root],
            "standby_workers": 1,
            "shutdown_grace_s": 0,
        }
    )
    DaemonProcess(state_dir, (made.root,)).clean()


@pytest.mark.timeout(900)
async def test_one_of_ten(settings: Settings, made: e.Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planner, publisher, gates and an engine's job raise, each for a tenth model; a restart changes nothing for the nine."""
    monkeypatch.setattr(fault, "RETRY_AFTER_S", RETRIES_S)
    source, better = made.uri("encoder"), made.uri("better")
    poison = Poison("planner", "publisher", "gates", "engine")
    async with running(settings, poison, monkeypatch) as house:
        for number, model in enumerate(NINE):
            await house.load(model, made.uri("speaking"), **small_engine(number))
        for model in ("planner", "publisher", "engine", "gates"):
            await house.load(model, source)
        await house.until(lambda: all(o.done for o in house.daemon.loop.state.operations.values()))
        assert (house.failure("planner"), house.failure("engine")) == ("ADAPTER_FAILED", "ADAPTER_FAILED")
        policy = e.fast_policy()
        update = models_pb2.UpdateModelRequest(model_id="gates", version_id="v2", source_uri=better, policy=policy)
        await house.client.update_model(update)
        await house.until(lambda: bool(house.daemon.loop.state.models["gates"].faults))
        await says_what_is_wrong(house)
        await house.serves(*NINE, "gates")
    poison.raised.clear()
    async with running(settings, poison, monkeypatch) as house:
        await house.until(lambda: {"planner", "publisher", "engine"} <= set(poison.raised))
        await house.until(lambda: house.failure("planner") == house.failure("engine") == "ADAPTER_FAILED")
        await house.until(lambda: bool(house.daemon.loop.state.models["gates"].faults))
        await says_what_is_wrong(house)
        await house.serves(*NINE, "gates")


async def says_what_is_wrong(house: House) -> None:
    """GetStatus, GetModel, GetModelVersion and Explain tell which part failed and for which model."""
    alarms = await house.alarms()
    told = {
        "planner": "placing planner/v1#",
        "engine": "starting engine/v1#",
        "publisher": "publishing the routes of publisher failed",
        "gates": "judging rollout",
    }
    for model, text in told.items():
        assert any(text in alarm for alarm in alarms), (model, alarms)
        explained = await house.client.explain(f"models/{model}")
        assert text in explained.summary, explained.summary
    assert not any(model in alarm for alarm in alarms for model in NINE)
    for model in ("planner", "engine"):
        assert (await house.client.get_model(model)).health == types_pb2.HEALTH_STATE_NOT_SERVING
        version = await house.client.get_version(f"{model}/v1")
        assert "failed 4 times" in version.failure.message
    assert (await house.client.get_model("publisher")).health == types_pb2.HEALTH_STATE_DEGRADED
    rollout = house.daemon.loop.state.models["gates"].rollout
    assert rollout is not None
    shown = await house.client.get_rollout(f"gates/{rollout.rollout_id}")
    assert shown.held_reason.startswith("ADAPTER_FAILED: judging rollout")
