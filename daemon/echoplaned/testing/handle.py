"""A handle on the real core without store, engines or clock.

It does what a loop would do, at once and in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from echoplaned.core import engine_events, events
from echoplaned.core.commands import Command
from echoplaned.core.effects import (
    Announce,
    DrainEngine,
    Effect,
    EvaluateGates,
    PlaceInstance,
    ProbeEngine,
    PublishRoutes,
    Reply,
    StartEngine,
    StopEngine,
)
from echoplaned.core.errors import DaemonError, StoreUnavailableError
from echoplaned.core.events import Event, GatesJudged, RoutesProgressed, Tick
from echoplaned.core.failure import FailureDetail
from echoplaned.core.placement import on_one_device
from echoplaned.core.queries import find_instance
from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.core.state import Operation, State
from echoplaned.core.step import StepInput, step
from echoplaned.testing.builders import empty_state, endpoints


@dataclass(slots=True)
class Script:
    """What the fake adapters answer by themselves.

    What is off waits for ``FakeHandle.emit``.

    Attributes:
        reserve: whether an instance is placed on the first device.
        start: whether an engine becomes ready.
        probe: whether probes pass.
        drain: whether a drained engine is quiet at once.
        stop: whether an engine ends.
        acknowledge: whether every subscriber has the newest routes at once; off: none has.
        subscribers: how many the routes have.
        verdict: what every gate says at once; None: nothing.
        start_failure: why the engine gives up; None: it does not.
        probe_failure: why its probes fail; empty: they do not.
    """

    reserve: bool = True
    start: bool = True
    probe: bool = True
    drain: bool = True
    stop: bool = True
    acknowledge: bool = True
    subscribers: int = 0
    verdict: GateVerdict | None = None
    start_failure: FailureDetail | None = None
    probe_failure: str = ""


class FakeHandle:
    """Implements ``ports.handle.Handle``. Time stands still but for ``advance``.

    ``submitted``: every command, also those that were refused. ``waited_for``: set once somebody waits for a change.
    """

    def __init__(self, state: State | None = None, script: Script | None = None, now_s: float = 1000.0) -> None:
        self.script = script or Script()
        self._state = state or empty_state()
        self._now_s = now_s
        self._ids = 0
        self._queue: deque[Event] = deque()
        self._announces: list[Announce] = []
        self._changed = asyncio.Event()
        self._store_detail = ""
        self.submitted: list[Command] = []
        self.waited_for = asyncio.Event()

    @property
    def state(self) -> State:
        """The newest state."""
        return self._state

    def now_s(self) -> float:
        """Seconds since the epoch, as far as this handle knows."""
        return self._now_s

    def new_id(self) -> str:
        """Draw the next id: ``id1``, ``id2`` and so on."""
        self._ids += 1
        return f"id{self._ids}"

    async def submit(self, command: Command) -> Operation | None:
        """Apply a command and all that follows from it.

        Raises:
            DaemonError: it was refused, or ``fail_store`` is in force.
        """
        self.submitted.append(command)
        replied = self._apply(command)
        self._settle()
        return self._state.operations.get(replied)

    async def give(self, command: Command) -> asyncio.Future[Operation | None]:
        """Apply a command; return what came of it."""
        outcome: asyncio.Future[Operation | None] = asyncio.get_running_loop().create_future()
        try:
            outcome.set_result(await self.submit(command))
        except DaemonError as refused:
            outcome.set_exception(refused)
        return outcome

    async def wait_until(self, condition: Callable[[State], bool], timeout_s: float | None = None) -> State:
        """Return the first state that fulfils a condition.

        Raises:
            TimeoutError: it did not come in time.
        """
        async with asyncio.timeout(timeout_s):
            while not condition(self._state):
                self.waited_for.set()
                await self._changed.wait()
        return self._state

    async def follow(self, after_sequence: int) -> AsyncIterator[Announce]:
        """Yield every announcement after a sequence number."""
        position = after_sequence
        while True:
            for announce in [a for a in self._announces if a.sequence > position]:
                position = announce.sequence
                yield announce
            if not any(a.sequence > position for a in self._announces):
                await self._changed.wait()

    def emit(self, *happened: Event) -> None:
        """Apply adapters' events and all that follows from them."""
        self._queue.extend(happened)
        self._settle()

    def advance(self, seconds: float) -> None:
        """Let time go on, then tick."""
        self._now_s += seconds
        self.emit(Tick(self._now_s))

    def give_verdict(self, model_id: str, verdict: GateVerdict, reason: str = "as the test says") -> None:
        """Say what the gates say of a model's rollout, in its present window."""
        rollout = self._state.models[model_id].rollout
        if rollout is None:
            raise AssertionError(f"model {model_id} has no rollout to judge")
        given = (Verdict("errors", verdict, reason, 0.95, (("new_request_count", 100),)),)
        self.emit(GatesJudged(self._now_s, model_id, rollout.rollout_id, rollout.stage, rollout.evidence_window, given))

    def acknowledge(self, model_id: str) -> None:
        """Let every subscriber have a model's newest routes."""
        routes = self._state.models[model_id].routes
        if routes is None:
            raise AssertionError(f"model {model_id} has no routes")
        count = self.script.subscribers
        self.emit(
            RoutesProgressed(
                self._now_s, model_id, routes.epoch, acknowledged=True, acknowledged_count=count, subscriber_count=count
            )
        )

    def fail_store(self, detail: str) -> None:
        """Refuse commands as if the store could not be written; an empty detail ends it."""
        self._store_detail = detail

    def _settle(self) -> None:
        while self._queue:
            self._apply(self._queue.popleft())

    def _apply(self, event: StepInput) -> str:
        result = step(self._state, event)
        if self._store_detail and isinstance(event, Command):
            raise StoreUnavailableError(self._store_detail)
        self._state = result.state
        replied = ""
        for effect in result.effects:
            if isinstance(effect, Reply):
                replied = effect.operation_id
            elif isinstance(effect, Announce):
                self._announces.append(effect)
            else:
                answer = self._answer(effect)
                if answer is not None:
                    self._queue.append(answer)
        self._changed.set()
        self._changed = asyncio.Event()
        return replied

    def _answer(self, effect: Effect) -> Event | None:
        script = self.script
        match effect:
            case PlaceInstance() if script.reserve:
                return self._reserved(effect)
            case StartEngine() | ProbeEngine() | DrainEngine() | StopEngine():
                return self._answer_engine(effect)
            case _:
                return self._answer_traffic(effect)

    def _answer_engine(self, effect: StartEngine | ProbeEngine | DrainEngine | StopEngine) -> Event | None:
        script = self.script
        who = (self._now_s, effect.instance, effect.generation)
        answer: Event | None = None
        match effect:
            case StartEngine() if script.start_failure is not None:
                answer = engine_events.EngineGaveUp(*who, script.start_failure)
            case StartEngine() if script.start:
                port = 9000 + effect.instance.ordinal
                answer = engine_events.EngineReady(*who, endpoints(f"127.0.0.1:{port}"), f"leader-{port}")
            case ProbeEngine() if script.probe_failure:
                answer = engine_events.ProbesFailed(*who, script.probe_failure)
            case ProbeEngine() if script.probe:
                answer = engine_events.ProbesPassed(*who)
            case DrainEngine() if script.drain:
                answer = engine_events.EngineDrained(*who)
            case StopEngine() if script.stop:
                answer = engine_events.EngineStopped(*who)
        return answer

    def _answer_traffic(self, effect: Effect) -> Event | None:
        script, now_s = self.script, self._now_s
        match effect:
            case PublishRoutes():
                count = script.subscribers
                has = count if script.acknowledge else 0
                return RoutesProgressed(now_s, effect.model, effect.epoch, script.acknowledge, has, count)
            case EvaluateGates() if script.verdict is not None:
                rollout = effect.rollout
                given = (Verdict("errors", script.verdict, "as the script says", 0.95),)
                return GatesJudged(
                    now_s, rollout.model, rollout.rollout_id, rollout.stage, rollout.evidence_window, given
                )
            case _:
                return None

    def _reserved(self, effect: PlaceInstance) -> Event | None:
        found = find_instance(self._state, effect.instance)
        if found is None:
            return None
        placement = on_one_device(self._state.devices[0].device_id, found[1].plan.upper_bytes)
        return events.InstancePlaced(self._now_s, effect.instance, placement, self._state.reservation_epoch)
