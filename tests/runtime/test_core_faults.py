"""An event that breaks the core costs itself: the loop lives, the state stays, somebody is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from types import MappingProxyType

import pytest
from structlog.testing import capture_logs

from echoplaned.core import commands as cmd
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.errors import ModelNotFoundError
from echoplaned.core.state import State
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.core_faults import MAX_ALARMS, CoreFaultError, CoreFaults
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.runtime.loop import Loop
from echoplaned.testing import builders
from tests.runtime.test_loop import V1, Disk, House, open_house


def broken_model(state: State) -> State:
    """Return a state whose version has no list of instances: whatever looks at one breaks."""
    model = state.models["m"]
    version = replace(model.versions["v1"], instances=None)  # type: ignore[arg-type]
    return replace(state, models=MappingProxyType({"m": replace(model, versions=MappingProxyType({"v1": version}))}))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Return a running loop over a store and adapters in memory."""
    async with open_house() as (opened, running):
        yield opened
        assert not running.done(), "nothing that the core raises ends the loop"


async def test_an_event_that_breaks_the_core_is_dropped(house: House) -> None:
    """The state is the very same, nothing is done, the alarm counts, and other models' events go on."""
    await house.serve()
    house.loop._state = broken_model(house.loop.state)
    before, done = house.loop.state, len(house.adapters.done)
    with capture_logs() as logs:
        for _ in range(3):
            await house.emit(eng.EngineLost(0.0, V1, 1, "killed"))
        await house.emit(ev.Tick(0.0))
    assert house.loop.state is before
    assert len(house.adapters.done) == done
    lost, tick = house.loop.alarms
    assert lost.startswith("EngineLost broke the core 3 times and was dropped (TypeError: ")
    assert tick.startswith("Tick broke the core once")
    assert house.loop.faults.counts["core"] == 4
    assert len([line for line in logs if line["event"] == "adapter.failed"]) == 2
    assert house.loop.store_writable


async def test_a_command_that_breaks_the_core_is_refused(house: House) -> None:
    """Its caller has an error that says nothing of the inside; the next command is done."""
    await house.serve()
    sound = house.loop.state
    house.loop._state = broken_model(sound)
    with pytest.raises(CoreFaultError, match="the daemon's core broke on DeleteModel, and nothing was changed"):
        await house.loop.submit(cmd.DeleteModel(cmd.Request(0.0, "op2"), "m", force=True))
    house.loop._state = sound
    assert await house.loop.submit(cmd.DeleteModel(cmd.Request(0.0, "op2"), "m", force=True)) is not None


async def test_an_adapters_event_that_the_core_refuses_is_a_fault(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core refuses commands only: a refusal of a fact is a mistake like any other, and is told."""

    def refuse(_state: State, _event: object) -> None:
        raise ModelNotFoundError("models/m")

    monkeypatch.setattr("echoplaned.runtime.loop.step", refuse)
    await house.emit(ev.Tick(0.0))
    assert len(house.loop.alarms) == 1


async def test_a_start_that_breaks_the_core_is_no_start() -> None:
    """Without recovery the daemon would believe in engines that have gone: it says so and ends."""
    disk = Disk()
    loaded = builders.run(builders.empty_state(), cmd.LoadVersion(cmd.Request(0.0, "op1"), builders.order("m", "v1")))
    loop = Loop(broken_model(loaded), disk, AnnounceLog(lambda _after, _limit: ()), lambda: 0.0, lambda: "id")
    with pytest.raises(CoreFaultError, match="Recovered"):
        await loop.handle(ev.Recovered(0.0))
    await loop.close()


def test_alarms_are_few() -> None:
    """However many different faults there are, so many are named; all are counted."""
    adapter_faults = AdapterFaults(lambda _event: None, lambda: 0.0)
    faults = CoreFaults(adapter_faults)
    for number in range(100):
        faults.note("Tick", ValueError(f"no {number}"))
    assert len(faults.alarms) == MAX_ALARMS
    assert adapter_faults.counts["core"] == 100
