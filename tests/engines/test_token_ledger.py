"""Tokens over the lives of engines and daemons: nothing twice, nothing negative, and not counted is no zero."""

from __future__ import annotations

import asyncio
import random

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engines import token_ledger
from echoplaned.engines.token_ledger import TokenLedger
from echoplaned.ports.tokens import SavedTokens

V1, V2 = VersionKey("m", "v1"), VersionKey("m", "v2")


async def saved_by(ledger: TokenLedger, into: list[SavedTokens]) -> SavedTokens:
    """Save a ledger that saves to a list; return what was saved last."""
    await ledger.save()
    return into[-1]


def test_engines_of_a_version_are_added_up() -> None:
    """What each counted since its start, over restarts of engines, whose counters begin at zero again."""
    ledger = TokenLedger()
    ledger.count(V1, "a", TokenCounts(10, 1))
    ledger.count(V1, "a", TokenCounts(15, 4))
    ledger.count(V1, "b", TokenCounts(100, 0))
    ledger.on_ended("a")
    ledger.count(V1, "a again", TokenCounts(0, 0))
    ledger.count(V1, "a again", TokenCounts(2, 1))
    assert ledger.report().totals == {V1: TokenCounts(117, 5)}


def test_what_falls_is_not_counted_twice() -> None:
    """A page of metrics that was cut, or a leader that lies: what comes back after it was there before."""
    ledger = TokenLedger()
    for prompt in (50, 20, 50, 0, 55):
        ledger.count(V1, "a", TokenCounts(prompt, 1))
    assert ledger.report().totals == {V1: TokenCounts(55, 1)}


def test_not_counted_is_no_zero() -> None:
    """An engine that counts none is named until it has gone or counts; its version has no total."""
    ledger = TokenLedger()
    ledger.count(V1, "a", None)
    ledger.count(V2, "b", TokenCounts())
    assert ledger.report().totals == {V2: TokenCounts()}
    assert ledger.report().uncounted == {V1}
    ledger.count(V1, "a", TokenCounts(1, 1))
    assert ledger.report().uncounted == frozenset()
    ledger.count(V2, "c", None)
    assert ledger.report().uncounted == {V2}
    ledger.on_ended("c")
    assert ledger.report().uncounted == frozenset()


async def test_the_next_daemon_goes_on() -> None:
    """It adds what its adopted engines counted since the totals were saved, and all of those that it never heard of."""
    files: list[SavedTokens] = []
    first = TokenLedger(None, files.append)
    first.count(V1, "a", TokenCounts(10, 10))
    saved = await saved_by(first, files)
    first.count(V1, "a", TokenCounts(12, 12))  # it is killed before it saves this
    first.count(V2, "b", TokenCounts(3, 3))  # nor this engine
    second = TokenLedger(saved, files.append)
    assert second.report().totals == {V1: TokenCounts(10, 10)}
    second.count(V1, "a", TokenCounts(20, 20), is_adopted=True)
    second.count(V2, "b", TokenCounts(5, 5), is_adopted=True)
    assert second.report().totals == {V1: TokenCounts(20, 20), V2: TokenCounts(5, 5)}
    second.on_ended("a")
    third = TokenLedger(await saved_by(second, files), files.append)
    assert third.report().totals == {V1: TokenCounts(20, 20), V2: TokenCounts(5, 5)}
    assert set(files[-1].seen) == {"b"}, "what has gone does not come again"


def test_counting_begins_now_where_nothing_was_saved() -> None:
    """What engines counted for an earlier daemon is left out where its totals are gone; what this daemon starts counts whole."""
    ledger = TokenLedger(None)
    ledger.count(V1, "old", TokenCounts(1000, 1000), is_adopted=True)
    ledger.count(V1, "old", TokenCounts(1001, 1002), is_adopted=True)
    ledger.count(V1, "new", TokenCounts(5, 5))
    assert ledger.report().totals == {V1: TokenCounts(6, 7)}


async def test_only_what_changed_is_saved() -> None:
    """Engines that report the same again cost no write; that counting begins does, and one that is seen for the first time."""
    files: list[SavedTokens] = []
    ledger = TokenLedger(None, files.append)
    await ledger.save()
    ledger.count(V1, "a", TokenCounts())
    for _ in range(3):
        await ledger.save()
        ledger.count(V1, "a", TokenCounts())
    assert files == [SavedTokens(), SavedTokens({V1: TokenCounts()}, {"a": TokenCounts()})]


async def test_a_daemon_that_dies_at_once_loses_nothing() -> None:
    """That counting has begun is saved soon: the engines of a daemon that is killed a moment later are counted whole."""
    files: list[SavedTokens] = []
    first = TokenLedger(None, files.append)
    saving = asyncio.create_task(first.run())
    async with asyncio.timeout(10):
        while not files:
            await asyncio.sleep(0.001)
    saving.cancel()
    first.count(V1, "a", TokenCounts(5, 5))
    second = TokenLedger(files[-1], files.append)
    second.count(V1, "a", TokenCounts(6, 6), is_adopted=True)
    assert second.report().totals == {V1: TokenCounts(6, 6)}


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions that nothing was added to for longest, and engines that were not heard of, are forgotten first."""
    monkeypatch.setattr(token_ledger, "MAX_VERSIONS", 3)
    monkeypatch.setattr(token_ledger, "MAX_SEEN", 2)
    gone = {f"gone{number}": TokenCounts(1, 1) for number in range(2)}
    ledger = TokenLedger(SavedTokens({}, gone))
    for number in range(5):
        ledger.count(V1, "live", TokenCounts(number, number))
        ledger.count(VersionKey("m", f"n{number}"), f"w{number}", TokenCounts(1, 1))
    assert len(ledger.report().totals) == 3
    assert ledger.report().totals[V1] == TokenCounts(4, 4)


async def test_any_course_adds_up() -> None:
    """Engines that come and go, daemons that are killed at any time: the totals are what the engines generated, less the lost ends."""
    draw = random.Random(7)
    files: list[SavedTokens] = []
    ledger, true, lost, number = TokenLedger(None, files.append), 0, 0, 0
    ledger.count(V1, "first", TokenCounts())
    await ledger.save()
    engines = {"first": 0}
    told = {"first": 0}
    for _ in range(5000):
        engine = draw.choice(sorted(engines))
        match draw.randrange(12):
            case 0:
                number += 1
                engines[f"w{number}"] = told[f"w{number}"] = 0
            case 1 if len(engines) > 1:
                lost += engines.pop(engine) - told.pop(engine)
                ledger.on_ended(engine)
            case 2:
                await ledger.save()
            case 3:
                ledger = TokenLedger(files[-1], files.append)
                for name, count in engines.items():
                    ledger.count(V1, name, TokenCounts(2 * count, count), is_adopted=True)
                    told[name] = count
                # What ended since the file was written had its end in the totals that were lost with the daemon: begin from here.
                lost = true - ledger.report().totals[V1].generated
                assert lost >= 0
            case 4 | 5 | 6:
                engines[engine] += 1
                true += 1
            case _:
                ledger.count(V1, engine, TokenCounts(2 * engines[engine], engines[engine]))
                told[engine] = engines[engine]
    for name, count in engines.items():
        ledger.count(V1, name, TokenCounts(2 * count, count))
    assert ledger.report().totals[V1] == TokenCounts(2 * (true - lost), true - lost)
    assert lost < true / 2
