"""The one loop that owns the state: event in, step, persist, then act. Everyone else sends events or reads frozen snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from echoplaned.core import effects as fx
from echoplaned.core.commands import Command
from echoplaned.core.errors import EchoplaneError, StoreUnavailableError
from echoplaned.core.events import Event, Tick
from echoplaned.core.ids import VersionKey
from echoplaned.core.queries import version_exists
from echoplaned.core.state import Operation, State
from echoplaned.core.step import Step, StepInput, step
from echoplaned.ports.emit import Clock
from echoplaned.ports.store import Store
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.runtime.performing import Performer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Item:
    """An event in the queue; ``answer`` is set for a command."""

    event: StepInput
    answer: asyncio.Future[Operation | None] | None = None


@dataclass(slots=True)
class _Unwritten:
    """What could not be written yet: observed facts stay in memory and are written with the next commit that succeeds."""

    announces: list[fx.Announce] = field(default_factory=list)
    effects: list[fx.Effect] = field(default_factory=list)
    dirty: bool = False


class Loop:
    """Owns the state. ``run`` is its only writer; ``state`` is what RPCs read.

    When the store cannot be written, a command is refused and changes nothing; an observed fact is kept in memory, routes that
    only take weight from a failing version go out at once, and everything else waits for the store.
    """

    def __init__(
        self, state: State, store: Store, announces: AnnounceLog, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._state = state
        self._committed = state
        self._store = store
        self._announces = announces
        self._clock = clock
        self._new_id = new_id
        self._queue: asyncio.Queue[_Item] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._unwritten = _Unwritten()
        self._performer: Performer | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._refused_last = False
        self.event_count = 0
        self.faults = AdapterFaults(self.emit, clock)

    # --- what others may do ---

    @property
    def state(self) -> State:
        """The newest state; frozen."""
        return self._state

    def has_version(self, key: VersionKey) -> bool:
        """Return whether there is such a version now."""
        return version_exists(self._state, key)

    @property
    def store_writable(self) -> bool:
        """Whether the last attempt to write the store succeeded."""
        return not self._unwritten.dirty and not self._refused_last

    @property
    def is_idle(self) -> bool:
        """Whether no event waits to be applied; one may be under way."""
        return self._queue.empty()

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def new_id(self) -> str:
        """Draw an id for an operation or a rollout."""
        return self._new_id()

    def emit(self, event: Event) -> None:
        """Send an adapter's event; never blocks."""
        self._queue.put_nowait(_Item(event))

    async def submit(self, command: Command) -> Operation | None:
        """Give a command and wait until it is committed or refused.

        Raises:
            EchoplaneError: the command was refused, or the store cannot be written; nothing changed.
        """
        answer: asyncio.Future[Operation | None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Item(command, answer))
        return await answer

    async def wait_until(self, condition: Callable[[State], bool], timeout_s: float | None = None) -> State:
        """Return the first state that fulfils a condition.

        Raises:
            TimeoutError: it did not come in time.
        """
        async with asyncio.timeout(timeout_s):
            while not condition(self._state):
                await self._changed.wait()
        return self._state

    def follow(self, after_sequence: int) -> AsyncIterator[fx.Announce]:
        """Yield every announcement after a sequence number."""
        return self._announces.follow(after_sequence)

    # --- the loop itself ---

    def connect(self, dispatcher: Dispatcher) -> None:
        """Give the loop its adapters; once, before ``run``."""
        self._performer = Performer(dispatcher, self.faults)

    async def handle(self, event: Event) -> None:
        """Apply one event outside the queue: recovery's, before ``run`` begins."""
        await self._take(_Item(event))

    async def run(self, tick_s: float) -> None:
        """Apply events until cancelled; a tick comes at least every ``tick_s`` seconds."""
        next_tick = self._clock() + tick_s
        while True:
            try:
                async with asyncio.timeout(max(0.0, next_tick - self._clock())):
                    item = await self._queue.get()
            except TimeoutError:
                item = _Item(Tick(self._clock()))
            await self._take(item)
            if self._clock() >= next_tick:
                if not isinstance(item.event, Tick):
                    await self._take(_Item(Tick(self._clock())))
                next_tick = self._clock() + tick_s

    async def close(self) -> None:
        """Release the store's thread."""
        await asyncio.to_thread(self._writer.shutdown)

    async def _take(self, item: _Item) -> None:
        await self._handle(item)
        self.event_count += 1

    async def _handle(self, item: _Item) -> None:
        try:
            result = step(self._state, item.event)
        except EchoplaneError as error:
            _refuse(item, error)
            return
        announces = [effect for effect in result.effects if isinstance(effect, fx.Announce)]
        needs_store = any(isinstance(effect, fx.Persist) for effect in result.effects) or self._unwritten.dirty
        if needs_store:
            try:
                await self._commit(result.state, [*self._unwritten.announces, *announces])
            except StoreUnavailableError as error:
                self._store_failed(item, result, announces, error)
                return
        flushed, self._unwritten = self._unwritten, _Unwritten()
        self._publish(result.state)
        for announce in [*flushed.announces, *announces]:
            self._announces.append(announce)
        _answer(item, result, self._state)
        self._perform([*self._still_implied(flushed.effects), *result.effects])

    async def _commit(self, after: State, announces: list[fx.Announce]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._store.commit, self._committed, after, tuple(announces))
        self._committed = after
        self._refused_last = False

    def _store_failed(
        self, item: _Item, result: Step, announces: list[fx.Announce], error: StoreUnavailableError
    ) -> None:
        self._refused_last = True
        if item.answer is not None:
            _refuse(item, error)
            return
        if not self._unwritten.dirty:
            log.error("store.unavailable", detail=str(error))
        self._unwritten.dirty = True
        self._unwritten.announces += announces
        urgent: list[fx.Effect] = [e for e in result.effects if isinstance(e, fx.PublishRoutes) and e.urgent]
        self._unwritten.effects += [
            e for e in result.effects if e not in urgent and not isinstance(e, fx.Announce | fx.Persist)
        ]
        self._publish(result.state)
        self._perform(urgent)

    def _still_implied(self, deferred: list[fx.Effect]) -> list[fx.Effect]:
        """Return the deferred effects that the newest state still asks for; the others were overtaken."""
        holding = {key for keys in self._state.issued.values() for key in keys}
        return [e for e in deferred if not isinstance(e, fx.KeyedEffect) or e.key in holding]

    def _publish(self, state: State) -> None:
        before, self._state = self._state, state
        if self._performer is not None:
            self._performer.changed(before, state)
        self._changed.set()
        self._changed = asyncio.Event()

    def _perform(self, effects: list[fx.Effect]) -> None:
        if self._performer is not None:
            for effect in effects:
                self._performer.perform(effect, self._state)


def _answer(item: _Item, result: Step, state: State) -> None:
    """Answer a caller, before anything is done: what is committed is true, whatever an adapter makes of it."""
    if item.answer is not None and not item.answer.done():
        replied = next((e.operation_id for e in reversed(result.effects) if isinstance(e, fx.Reply)), "")
        item.answer.set_result(state.operations.get(replied))


def _refuse(item: _Item, error: EchoplaneError) -> None:
    if item.answer is None:
        # An adapter's event never raises in the core; this is a bug worth seeing, not worth dying of.
        log.error("event.refused", kind=type(item.event).__name__, error=str(error))
    elif not item.answer.done():
        item.answer.set_exception(error)
