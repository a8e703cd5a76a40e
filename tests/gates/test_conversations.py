"""Requests of one conversation are one draw: no conversation takes an update back alone, and none hides that a version fails the others."""

from __future__ import annotations

from random import Random

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.conversations import HOLD_S, OWED_FOR_S, ConversationFilter
from echoplaned.ports.conversations import Repeated
from echoplaned.ports.request_counts import Interval, RequestCounts
from tests.gates.conversation_world import NEW, OLD, Ended, Talk, World

POLICY = RolloutPolicy(stages_percent=(5, 15, 50, 100), stage_min_s=5.0, stage_max_s=60.0)
SEEDS = range(12)


def run(talks: tuple[Talk, ...], seed: int, *, known: bool = True) -> Ended:
    """Run a rollout with these conversations."""
    return World(POLICY, talks, Random(seed), known=known).run()


def crowd(seed: int, count: int, rate_per_s: float, new_error: float = 0.0, old_error: float = 0.0) -> tuple[Talk, ...]:
    """Return conversations that go wherever chance puts them."""
    random = Random(1000 + seed)
    return tuple(Talk(f"talk-{number}", rate_per_s, random.random(), new_error, old_error) for number in range(count))


@pytest.mark.parametrize("hashed", [0.01, 0.3, 0.9])
def test_a_single_conversation_stays_where_it_is_and_fails_nobody(hashed: float) -> None:
    """It is busy, and the new version sees nothing of it for three stages: no version is blamed for that."""
    talks = (Talk("only", 20.0, hashed),)
    ended = run(talks, 1)
    assert ended.promoted, ended
    if hashed > 0.05:
        assert not run(talks, 1, known=False).promoted, "a request is no draw of its own here"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_conversation_that_fails_anywhere_takes_nothing_back(seed: int) -> None:
    """It fails at either version and is half of the traffic: among a hundred others at the new version it is one."""
    good, bad = crowd(seed, 400, 0.05), Talk("bad", 20.0, 0.3, new_error=1.0, old_error=1.0)
    ended = run((*good, bad), seed)
    assert ended.promoted, ended
    assert run((*good, bad), seed, known=False).failed.startswith("errors: ERRORS_WORSE"), "what this is for"


@pytest.mark.parametrize("seed", SEEDS)
def test_where_there_are_few_others_it_is_waited_for_them(seed: int) -> None:
    """It is at the new version from the first stage on, beside some twenty: neither proof nor nothing."""
    ended = run((*crowd(seed, 400, 0.05), Talk("bad", 20.0, 0.01, new_error=1.0, old_error=1.0)), seed)
    assert not ended.failed
    assert not ended.promoted
    assert any("ERRORS_SUSPICIOUS" in verdict.reason for verdict in ended.verdicts), ended


@pytest.mark.parametrize("seed", SEEDS)
def test_errors_that_both_versions_have_are_no_verdict(seed: int) -> None:
    """One request of a hundred fails at either version: nothing is worse, however long conversations last."""
    ended = run(crowd(seed, 200, 0.2, 0.01, 0.01), seed)
    assert not ended.failed


@pytest.mark.parametrize("seed", SEEDS)
def test_a_version_that_fails_every_conversation_is_found(seed: int) -> None:
    """It is taken back in an early stage, by conversations and not by requests."""
    ended = run(crowd(seed, 200, 0.2, new_error=1.0), seed)
    assert ended.failed.startswith("errors: ERRORS_WORSE")
    assert ended.stage <= 2
    assert ended.requests["v2", True] <= 300


def test_a_version_that_fails_its_only_conversation_is_not_promoted() -> None:
    """One draw proves nothing; but probes that are answered well do not outweigh a hundred errors."""
    ended = run((Talk("only", 10.0, 0.3, new_error=1.0),), 3)
    assert not ended.failed
    assert not ended.promoted
    assert any("ERRORS_SUSPICIOUS" in verdict.reason for verdict in ended.verdicts), ended


class Said:
    """A source of conversations whose word a test sets."""

    def __init__(self) -> None:
        self.told: dict[VersionKey, Repeated] = {}
        self.there = True
        self.begun: list[str] = []

    def begin_rollout(self, model: str) -> None:
        """Note it."""
        self.begun.append(f"rollout {model}")

    def begin_window(self, model: str) -> None:
        """Note it."""
        self.begun.append(f"window {model}")

    def has_conversations(self, model: str) -> bool:
        """Return what was set."""
        del model
        return self.there

    def repeated(self, version: VersionKey) -> Repeated:
        """Return what was set."""
        return self.told.get(version, Repeated())


def test_counts_wait_for_the_gateways_word() -> None:
    """Nothing is told before; then repeated requests are missing, by how they ended and as each source counts them."""
    said = Said()
    found = ConversationFilter(said, (NEW, OLD), frozenset({"WORKER"}))
    worker = Interval(RequestCounts(ok=4, client_errors=3, server_errors=5, arrivals=12))
    lrs = Interval(RequestCounts(ok=7, server_errors=5, arrivals=12))
    first = found.take_off(0.0, {"WORKER": worker, "LRS": lrs})
    assert [each.new.seen for each in first.intervals.values()] == [0, 0]
    said.told = {NEW: Repeated(RequestCounts(ok=1, client_errors=2, server_errors=3), RequestCounts(server_errors=1))}
    none = Interval()
    found.take_off(HOLD_S / 2, {"WORKER": none, "LRS": none})
    counted = found.take_off(HOLD_S, {"WORKER": none, "LRS": none})
    assert counted.intervals["WORKER"].new == RequestCounts(ok=3, client_errors=1, server_errors=2, arrivals=6)
    assert counted.intervals["LRS"].new == RequestCounts(ok=4, server_errors=2, arrivals=6)
    assert counted.draws["WORKER"].new.server_errors == 1
    assert counted.intervals["WORKER"].old == RequestCounts()


def test_requests_that_their_caller_left_are_taken_off_the_engines_counts() -> None:
    """Who knows which of his conversations the new version answers could take it back by leaving its calls."""
    said = Said()
    found = ConversationFilter(said, (NEW, OLD), frozenset({"WORKER"}))
    left = RequestCounts(client_errors=6)
    said.told = {NEW: Repeated(RequestCounts(ok=1), RequestCounts(), left, RequestCounts(client_errors=1))}
    worker = Interval(RequestCounts(ok=5, client_errors=8, arrivals=13))
    lrs = Interval(RequestCounts(ok=5, arrivals=13))
    found.take_off(0.0, {"WORKER": worker, "LRS": lrs})
    counted = found.take_off(HOLD_S, {"WORKER": Interval(), "LRS": Interval()})
    assert counted.intervals["WORKER"].new == RequestCounts(ok=4, client_errors=2, arrivals=6)
    assert counted.intervals["LRS"].new == RequestCounts(ok=4, arrivals=6)
    assert counted.draws["WORKER"].new.client_errors == 1


def test_what_no_source_counted_is_not_taken_off_others_for_ever() -> None:
    """A request that never reached an engine is waited for, and then forgotten."""
    said = Said()
    found = ConversationFilter(said, (NEW, OLD), frozenset({"WORKER"}))
    said.told = {NEW: Repeated(RequestCounts(server_errors=3))}
    found.take_off(0.0, {"WORKER": Interval()})
    late = Interval(RequestCounts(server_errors=2, arrivals=2))
    found.take_off(OWED_FOR_S + 0.5, {"WORKER": late})
    counted = found.take_off(OWED_FOR_S + 0.5 + HOLD_S, {"WORKER": Interval()})
    assert counted.intervals["WORKER"].new.server_errors == 2


def test_nothing_waits_once_there_are_no_conversations() -> None:
    """What was held is told, and from then on everything at once."""
    said = Said()
    found = ConversationFilter(said, (NEW, OLD), frozenset())
    one = Interval(RequestCounts(ok=1, arrivals=1))
    found.take_off(0.0, {"LRS": one})
    said.there = False
    assert found.is_needed
    assert found.take_off(0.5, {"LRS": one}).intervals["LRS"].new.ok == 2
    assert not found.is_needed
    found.begin_window()
    assert said.begun == ["rollout m", "window m"]
