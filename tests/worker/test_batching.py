"""The batcher with a model that the test holds in its hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from echoplaned.core.token_counts import TokenCounts
from echoplaned.worker.batching import Batcher, bucket_of
from echoplaned.worker.sequences import Outcome, RowFailure, RowOutcome, Sampling, Token, TokenSequence, Vector
from echoplaned.worker_contract.inference.errors import ModelFailedError, NotServingError, OverloadedError

WAIT_S = 10


class HeldModel:
    """A model whose every step waits for the test, and which remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_step = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.error: type[Exception] | None = None
        self.poison: set[int] = set()
        self.refused_starts: set[int] = set()

    def start_run(self, rows: list[TokenSequence]) -> HeldRun:
        """Remember the batch by the lengths of its rows."""
        if any(self.refused_starts.intersection(row.token_ids) for row in rows):
            raise ValueError("made to fail")
        self.batches.append([len(row.token_ids) for row in rows])
        return HeldRun(self, rows)


class HeldRun:
    """One batch: rows whose sampling asks for several tokens take several steps."""

    def __init__(self, model: HeldModel, rows: list[TokenSequence], steps: int = 0) -> None:
        self._model = model
        self._steps = steps
        self.rows = rows

    @property
    def done(self) -> bool:
        """Whether no row is left."""
        return not self.rows

    def step(self) -> list[RowOutcome]:
        """Wait for the test, then answer one token, or a vector, a row."""
        self._model.entered.release()
        assert self._model.may_step.acquire(timeout=WAIT_S)
        if self._model.error is not None:
            raise self._model.error("made to fail")
        if self._steps and any(self._model.poison.intersection(row.token_ids) for row in self.rows):
            raise RuntimeError("made to fail by a row")
        self._steps += 1
        rows = [row for row in self.rows if not row.cancelled]
        told: list[RowOutcome] = []
        for row in rows:
            last = self._steps >= row.sampling.max_tokens
            told.append(
                (row, Token(self._steps, 0.0, last) if row.sampling.max_tokens > 1 else Vector(np.zeros(1, np.float32)))
            )
        self.rows = [row for row in rows if self._steps < row.sampling.max_tokens]
        return told

    def alone(self, row: TokenSequence) -> HeldRun:
        """Go on with one row where the batch stood."""
        self._model.batches.append([len(row.token_ids)])
        return HeldRun(self._model, [row], self._steps)


class Bench:
    """A batcher over a held model, and what came out."""

    def __init__(self, slots: int = 4, queue_limit: int = 8) -> None:
        self.model = HeldModel()
        self.now_s = 0.0
        self.died = threading.Event()
        self.got: asyncio.Queue[tuple[str, Outcome]] = asyncio.Queue()
        self.batcher = Batcher(
            self.model.start_run,
            slots=slots,
            queue_limit=queue_limit,
            on_death=self.died.set,
            clock=lambda: self.now_s,
        )

    def row(self, name: str, length: int = 4, tokens: int = 1, peer: str = "") -> TokenSequence:
        """Return a row that reports under a name, and came on a connection."""
        sampling = Sampling(max_tokens=tokens)
        return TokenSequence([1] * length, sampling, lambda outcome: self.got.put_nowait((name, outcome)), peer=peer)

    async def next(self) -> tuple[str, Outcome]:
        """Return what came next."""
        async with asyncio.timeout(WAIT_S):
            return await self.got.get()

    async def names(self, count: int) -> list[str]:
        """Return the names of what came next, sorted."""
        return sorted([(await self.next())[0] for _ in range(count)])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the inference thread does."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.001)


async def test_what_arrives_while_a_batch_runs_is_the_next_batch() -> None:
    """The first row goes alone and at once; the next ones go together."""
    bench = Bench()
    bench.batcher.start()
    bench.batcher.submit([bench.row("first")])
    await bench.until(lambda: bench.model.entered.acquire(blocking=False))
    for name in "abc":
        bench.batcher.submit([bench.row(name)])
    bench.model.may_step.release(2)
    assert await bench.names(4) == ["a", "b", "c", "first"]
    assert bench.model.batches == [[4], [4, 4, 4]]
    assert bench.batcher.progress == 2
    bench.batcher.close(WAIT_S)


async def test_a_long_step_is_expected_to_be_long() -> None:
    """While a step of 400 tokens is under way it is said to take a hundred times as long as the one of 4 before it."""
    bench = Bench()
    bench.batcher.start()
    bench.batcher.submit([bench.row("short")])
    await bench.until(lambda: bench.model.entered.acquire(blocking=False))
    assert bench.batcher.step_expected_s == 0.0
    bench.now_s += 0.05
    bench.batcher.submit([bench.row("long", length=400)])
    bench.model.may_step.release()
    await bench.until(lambda: bench.model.entered.acquire(blocking=False))
    assert bench.batcher.step_expected_s >= 100 * 0.05
    bench.model.may_step.release()
    assert await bench.names(2) == ["long", "short"]
    bench.batcher.close(WAIT_S)


async def test_a_batch_holds_one_length_bucket_and_no_more_than_the_slots() -> None:
    """The oldest row chooses the bucket; rows of other lengths keep their turn."""
    bench = Bench(slots=2)
    bench.batcher.submit([bench.row("a", 5), bench.row("long", 100), bench.row("b", 16), bench.row("c", 9)])
    bench.model.may_step.release(3)
    bench.batcher.start()
    assert await bench.names(4) == ["a", "b", "c", "long"]
    assert bench.model.batches == [[5, 16], [100], [9]]
    bench.batcher.close(WAIT_S)


def test_buckets_at_most_double_the_work() -> None:
    """A bucket is the next power of two, and 16 at least."""
    assert [bucket_of(n) for n in (1, 16, 17, 32, 33, 512)] == [16, 16, 32, 32, 64, 512]


async def test_a_full_queue_refuses_the_whole_request() -> None:
    """A request whose rows do not all fit leaves none behind."""
    bench = Bench(queue_limit=3)
    bench.batcher.submit([bench.row("a"), bench.row("b")])
    with pytest.raises(OverloadedError, match="the limit is 3"):
        bench.batcher.submit([bench.row("c"), bench.row("d")])
    assert bench.batcher.waiting == 2
    bench.batcher.close(WAIT_S)


async def test_connections_take_turns() -> None:
    """Beside sixty rows of one connection that wait, another's is in the first batch, and a third's of another length in the second."""
    bench = Bench(queue_limit=200)
    for number in range(60):
        bench.batcher.submit([bench.row(f"greedy {number}", peer="greedy")])
    bench.batcher.submit([bench.row("other length", 100, peer="third")])
    bench.batcher.submit([bench.row("small", peer="second")])
    bench.model.may_step.release(2)
    bench.batcher.start()
    assert await bench.names(5) == ["greedy 0", "greedy 1", "greedy 2", "other length", "small"]
    bench.batcher.close(0.1)
    bench.model.may_step.release(1)


async def test_one_connection_leaves_places_for_others() -> None:
    """A connection has half of the queue at most; what it had of it comes back as its rows are computed, cancelled or failed."""
    bench = Bench(queue_limit=200)
    rows = [bench.row(f"{number}", peer="greedy") for number in range(101)]
    for row in rows[:100]:
        bench.batcher.submit([row])
    with pytest.raises(OverloadedError, match="this connection holds 100"):
        bench.batcher.submit([rows[100]])
    bench.batcher.submit([bench.row(f"small {n}", peer="small") for n in range(10)])
    bench.batcher.cancel([rows[0]])
    bench.batcher.submit([rows[100]])
    bench.model.may_step.release(28)
    bench.batcher.start()
    assert len(await bench.names(110)) == 110
    bench.batcher.submit([bench.row(f"again {n}", peer="greedy") for n in range(100)])
    bench.batcher.close(0.1)
    bench.model.may_step.release(1)


async def test_a_step_that_takes_far_longer_than_others_is_a_stall() -> None:
    """Steps of the usual length are none, however many wait behind them; one of four times that is, until it ends."""
    bench = Bench()
    bench.batcher.start()
    for n in range(10):
        bench.batcher.submit([bench.row(f"{n}")])
        await bench.until(lambda: bench.model.entered.acquire(blocking=False))
        bench.now_s += 2.0 if n else 0.5
        assert not bench.batcher.is_stalled
        bench.model.may_step.release()
        await bench.next()
    assert not bench.batcher.is_stalled
    bench.batcher.submit([bench.row("hangs")])
    await bench.until(lambda: bench.model.entered.acquire(blocking=False))
    bench.now_s += 7.9
    assert not bench.batcher.is_stalled
    bench.now_s += 0.2
    assert bench.batcher.is_stalled
    bench.model.may_step.release()
    await bench.next()
    await bench.until(lambda: not bench.batcher.is_stalled)
    bench.batcher.close(WAIT_S)


async def test_tokens_are_counted_once() -> None:
    """Those of rows that were computed, also where their batch failed and each went on alone, and those generated; a vector is none."""
    bench = Bench()
    bench.model.poison = {7}
    poisoned = TokenSequence([7] * 3, Sampling(max_tokens=3), lambda outcome: bench.got.put_nowait(("7", outcome)))
    gone = bench.row("gone", 6, tokens=3)
    bench.batcher.submit([bench.row("a", 5, tokens=3), poisoned, gone, bench.row("vector", 4)])
    bench.batcher.cancel([gone])
    bench.model.may_step.release(20)
    bench.batcher.start()
    got = [await bench.next() for _ in range(6)]
    assert sorted(name for name, _ in got) == ["7", "7", "a", "a", "a", "vector"]
    assert [type(outcome) for name, outcome in got if name == "7"] == [Token, RowFailure]
    # The failed row got one token before it failed.
    assert bench.batcher.tokens == TokenCounts(prompt=5 + 3 + 4, generated=3 + 1)
    bench.batcher.close(WAIT_S)


async def test_a_cancelled_row_leaves_the_queue() -> None:
    """What was cancelled before its turn is never computed nor told."""
    bench = Bench()
    kept, gone = bench.row("kept"), bench.row("gone")
    bench.batcher.submit([gone])
    bench.batcher.submit([kept])
    bench.batcher.cancel([gone])
    bench.model.may_step.release(1)
    bench.batcher.start()
    assert (await bench.next())[0] == "kept"
    assert bench.model.batches == [[4]]
    bench.batcher.close(WAIT_S)
    assert bench.got.empty()


async def test_a_new_row_joins_while_a_generation_is_under_way() -> None:
    """Runs take turns step by step as long as there are slots."""
    bench = Bench(slots=2)
    bench.batcher.start()
    bench.batcher.submit([bench.row("long", tokens=3)])
    await bench.until(lambda: bench.model.entered.acquire(blocking=False))
    bench.batcher.submit([bench.row("short"), bench.row("waits")])
    bench.model.may_step.release(1)
    assert (await bench.next())[0] == "long"
    bench.model.may_step.release(2)
    assert await bench.names(2) == ["long", "short"]
    bench.model.may_step.release(4)
    assert await bench.names(2) == ["long", "waits"]
    assert bench.model.batches == [[4], [4], [4]]
    bench.batcher.close(WAIT_S)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, AssertionError, AttributeError, MemoryError])
async def test_a_failing_model_ends_its_batch_only(error: type[Exception]) -> None:
    """The rows of the failed batch get INTERNAL, whatever the model's code raises; the next batch is computed."""
    bench = Bench()
    bench.model.error = error
    bench.batcher.submit([bench.row("a")])
    bench.model.may_step.release(1)
    bench.batcher.start()
    name, outcome = await bench.next()
    assert name == "a"
    assert isinstance(outcome, RowFailure)
    assert isinstance(outcome.error, ModelFailedError)
    bench.model.error = None
    bench.batcher.submit([bench.row("b")])
    bench.model.may_step.release(1)
    assert isinstance((await bench.next())[1], Vector)
    assert not bench.died.is_set()
    bench.batcher.close(WAIT_S)


async def test_one_row_fails_one_row() -> None:
    """A batch that fails goes on row by row, each from where it stood: the bad row alone gets INTERNAL, the others all their tokens."""
    bench = Bench()
    bench.model.poison = {7}
    bad = TokenSequence([7] * 4, Sampling(max_tokens=3), lambda outcome: bench.got.put_nowait(("bad", outcome)))
    bench.batcher.submit([bench.row("a", tokens=3), bad, bench.row("b", tokens=3)])
    bench.model.may_step.release(100)
    bench.batcher.start()
    told: dict[str, list[Outcome]] = {"a": [], "bad": [], "b": []}
    for _ in range(3 * 3 - 1):
        name, outcome = await bench.next()
        told[name].append(outcome)
    assert told["a"] == told["b"] == [Token(1, 0.0, False), Token(2, 0.0, False), Token(3, 0.0, True)]
    assert told["bad"][0] == Token(1, 0.0, False)
    (failure,) = told["bad"][1:]
    assert isinstance(failure, RowFailure)
    assert isinstance(failure.error, ModelFailedError)
    assert bench.model.batches == [[4, 4, 4], [4], [4], [4]]
    assert not bench.died.is_set()
    bench.batcher.close(WAIT_S)


async def test_a_row_that_cannot_be_begun_fails_alone() -> None:
    """What fails before the first step is tried row by row too, and does not end the thread."""
    bench = Bench()
    bench.model.refused_starts = {7}
    bad = TokenSequence([7] * 4, Sampling(max_tokens=1), lambda outcome: bench.got.put_nowait(("bad", outcome)))
    bench.batcher.submit([bench.row("a"), bad])
    bench.model.may_step.release(100)
    bench.batcher.start()
    told = dict([await bench.next(), await bench.next()])
    assert isinstance(told["a"], Vector)
    assert isinstance(told["bad"], RowFailure)
    assert not bench.died.is_set()
    bench.batcher.close(WAIT_S)


async def test_a_listener_that_fails_keeps_nothing_from_others() -> None:
    """Each outcome is handed over on its own."""
    caught: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: caught.append(context["exception"]))
    bench = Bench()

    def fail(outcome: Outcome) -> None:
        raise LookupError(outcome)

    bench.batcher.submit([TokenSequence([1] * 4, Sampling(max_tokens=1), fail), bench.row("a")])
    bench.model.may_step.release(1)
    bench.batcher.start()
    assert (await bench.next())[0] == "a"
    assert [type(one) for one in caught] == [LookupError]
    bench.batcher.close(WAIT_S)


async def test_closing_fails_what_waits_and_refuses_more() -> None:
    """Nobody is left without an answer."""
    bench = Bench()
    bench.batcher.submit([bench.row("a")])
    bench.batcher.close(WAIT_S)
    _, outcome = await bench.next()
    assert isinstance(outcome, RowFailure)
    assert isinstance(outcome.error, NotServingError)
    with pytest.raises(NotServingError):
        bench.batcher.submit([bench.row("b")])


async def test_a_mistake_of_ours_is_not_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that no model raises ends the thread, and the worker is told."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    bench = Bench()
    bench.model.error = OSError
    bench.batcher.submit([bench.row("a")])
    bench.model.may_step.release(1)
    bench.batcher.start()
    await bench.until(bench.died.is_set)
    bench.batcher.close(WAIT_S)
    assert bench.got.empty()
