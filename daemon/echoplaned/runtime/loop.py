"""The one loop that owns the state: event in, step, persist, then act.

Everyone else sends events or reads frozen snapshots.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import structlog

from echoplaned.core import effects as fx
from echoplaned.core.commands import Command
from echoplaned.core.errors import DaemonError, StoreUnavailableError
from echoplaned.core.events import Event, Tick
from echoplaned.core.ids import VersionKey
from echoplaned.core.queries import version_exists
from echoplaned.core.state import Operation, State
from echoplaned.core.step import Step, StepInput, step
from echoplaned.ports.emit import Clock
from echoplaned.ports.store import Store
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.core_faults import CoreFaultError, CoreFaults
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.faults import AdapterFaults, contain
from echoplaned.runtime.performing import Performer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Item:
    """An event in the queue; ``answer`` is set for a command."""

    event: StepInput
    answer: asyncio.Future[Operation | None] | None = None


@dataclass(slots=True)
class _Unwritten:
    """What could not be written to the store yet.

    Observed facts stay in memory and are written with the next commit that succeeds.
    """

    announces: list[fx.Announce] = field(default_factory=list)
    effects: list[fx.Effect] = field(default_factory=list)
    dirty: bool = False


class Loop:
    """The loop that owns the state.

    ``run`` is its only writer; ``state`` is what RPCs read.

    When the store cannot be written, a command is refused and changes nothing; an observed fact is kept in memory, routes that
    only take weight from a failing version or are stored already go out at once, and everything else waits for the store. A fault
    of the store's own is the same. An event that the core breaks on is dropped, and a command refused: the state is frozen, so it
    stays as it was.
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
        self._refusal: StoreUnavailableError | None = None
        self._missing: StoreUnavailableError | None = None
        self.event_count = 0
        self.faults = AdapterFaults(self.emit, clock)
        self._core_faults = CoreFaults(self.faults)

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
        """Whether the last write of the store and its last check succeeded."""
        return not self._unwritten.dirty and self._refusal is None and self._missing is None

    @property
    def alarms(self) -> tuple[str, ...]:
        """What somebody should look at, one sentence each."""
        trouble = self._missing or self._refusal
        return (*((str(trouble),) if trouble is not None else ()), *self._core_faults.alarms)

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
            DaemonError: the command was refused, or the store cannot be written; nothing changed.
        """
        return await (await self.give(command))

    async def give(self, command: Command) -> asyncio.Future[Operation | None]:
        """Give a command; return what its outcome will be, as ``submit`` has it."""
        answer: asyncio.Future[Operation | None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Item(command, answer))
        return answer

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
        """Apply one event outside the queue: recovery's, before ``run`` begins.

        Raises:
            CoreFaultError: the core broke on it. A start that was not recovered would believe in engines that have gone.
        """
        if not await self._take(_Item(event)):
            raise CoreFaultError(type(event).__name__)

    async def run(self, tick_s: float) -> None:
        """Apply events until cancelled; a tick comes at least every ``tick_s`` seconds."""
        await self._check_store()
        next_tick = self._clock() + tick_s
        while True:
            item = await self._next(next_tick - self._clock())
            if item is not None:
                await self._take(item)
            if item is None or self._clock() >= next_tick:
                await self._check_store()
                await self._take(_Item(Tick(self._clock())))
                next_tick = self._clock() + tick_s

    async def _next(self, timeout_s: float) -> _Item | None:
        """Return the next event; None: none came in time."""
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        """Release the store's thread."""
        await asyncio.to_thread(self._writer.shutdown)

    async def _take(self, item: _Item) -> bool:
        """Apply one event; return whether the core took it."""
        result = self._step(item)
        if result is not None:
            await self._act(item, result)
        self.event_count += 1
        return result is not None

    def _step(self, item: _Item) -> Step | None:
        """Return what an event leads to.

        None: it was refused, or broke the core, and nothing has changed.
        """
        with contain(partial(self._step_failed, item)):
            return step(self._state, item.event)
        return None

    def _step_failed(self, item: _Item, error: BaseException) -> None:
        if item.answer is not None and isinstance(error, DaemonError):
            _refuse(item, error)
            return
        # An adapter's event is never refused by the core: whatever it raises there is a mistake of ours.
        kind = type(item.event).__name__
        self._core_faults.note(kind, error)
        if item.answer is not None:
            _refuse(item, CoreFaultError(kind))

    async def _act(self, item: _Item, result: Step) -> None:
        announces = [effect for effect in result.effects if isinstance(effect, fx.Announce)]
        needs_store = any(isinstance(effect, fx.Persist) for effect in result.effects) or self._unwritten.dirty
        if needs_store:
            error = await self._commit(result.state, [*self._unwritten.announces, *announces])
            if error is not None:
                self._store_failed(item, result, announces, error)
                return
        flushed, self._unwritten = self._unwritten, _Unwritten()
        self._publish(result.state)
        for announce in [*flushed.announces, *announces]:
            self._announces.append(announce)
        _answer(item, result, self._state)
        self._perform([*self._still_implied(flushed.effects), *result.effects])

    async def _commit(self, after: State, announces: list[fx.Announce]) -> StoreUnavailableError | None:
        """Write a state; return why that failed."""
        error = await self._in_store(partial(self._store.commit, self._committed, after, tuple(announces)))
        if error is None:
            self._committed = after
            self._refusal = None
        return error

    async def _check_store(self) -> None:
        """Have the store check itself.

        A disk that has gone is seen though nobody writes.
        """
        before, self._missing = self._missing, await self._in_store(self._store.check)
        if self._missing is not None and before is None:
            log.error("store.unavailable", detail=str(self._missing))
        if self._missing is None and before is not None:
            self._refusal = None  # it was for that, and nobody needs to write for the alarm to end

    async def _in_store(self, work: Callable[[], None]) -> StoreUnavailableError | None:
        """Do something in the store's thread; return the error that it raised.

        Whatever it was, it comes back as the one error that the loop knows of a store.
        """
        raised: list[BaseException] = []

        def do() -> None:
            with contain(raised.append):
                work()

        await asyncio.get_running_loop().run_in_executor(self._writer, do)
        if not raised:
            return None
        (error,) = raised
        if isinstance(error, StoreUnavailableError):
            return error
        self.faults.note("store", (), error)
        return StoreUnavailableError(f"a fault of its own: {type(error).__name__}")

    def _store_failed(
        self, item: _Item, result: Step, announces: list[fx.Announce], error: StoreUnavailableError
    ) -> None:
        self._refusal = error
        if item.answer is not None:
            _refuse(item, error)
            return
        if not self._unwritten.dirty:
            log.error("store.unavailable", detail=str(error))
        self._unwritten.dirty = True
        self._unwritten.announces += announces
        urgent: list[fx.Effect] = [e for e in result.effects if isinstance(e, fx.PublishRoutes) and self._may_go_out(e)]
        self._unwritten.effects += [
            e for e in result.effects if e not in urgent and not isinstance(e, fx.Announce | fx.Persist)
        ]
        self._publish(result.state)
        self._perform(urgent)

    def _may_go_out(self, effect: fx.PublishRoutes) -> bool:
        """Say whether routes need not wait for the store.

        They need not where they only take weight away, or are those that the store has (after a start).
        """
        known = self._committed.models.get(effect.model)
        return effect.urgent or (known is not None and known.routes == effect.routes)

    def _still_implied(self, deferred: list[fx.Effect]) -> list[fx.Effect]:
        """Return the deferred effects that the newest state still asks for.

        The others were overtaken.
        """
        holding = {key for keys in self._state.issued.values() for key in keys}
        return [e for e in deferred if not isinstance(e, fx.KeyedEffect) or e.key in holding]

    def _publish(self, state: State) -> None:
        before, self._state = self._state, state
        if self._performer is not None:
            self._performer.on_changed(before, state)
        self._changed.set()
        self._changed = asyncio.Event()

    def _perform(self, effects: list[fx.Effect]) -> None:
        if self._performer is not None:
            for effect in effects:
                self._performer.perform(effect, self._state)


def _answer(item: _Item, result: Step, state: State) -> None:
    """Answer a caller, before any effect is done.

    What is committed is true, whatever an adapter makes of it.
    """
    if item.answer is not None and not item.answer.done():
        replied = next((e.operation_id for e in reversed(result.effects) if isinstance(e, fx.Reply)), "")
        item.answer.set_result(state.operations.get(replied))


def _refuse(item: _Item, error: Exception) -> None:
    if item.answer is not None and not item.answer.done():
        item.answer.set_exception(error)
