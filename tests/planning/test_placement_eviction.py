"""Who leaves memory for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echoplaned import _allocator
from echoplaned.core.errors import FieldInvalidError
from echoplaned.planning.eviction import EvictionRules, Newcomer, Resident, Usage

NOW_S = 10_000.0
EAGER = EvictionRules(min_residency_s=0.0, advantage=1.0)


def usage(**uses: int) -> Usage:
    """Return uses that happened just now."""
    seen = Usage()
    for model_id, count in uses.items():
        seen.record(model_id, now_s=NOW_S, uses=count)
    return seen


def resident(model_id: str, reload_s: float = 1.0) -> Resident:
    """Return an idle model of ten bytes that has been there for long."""
    return Resident(model_id, 10, reload_s, since_s=0.0)


def test_worth_is_uses_by_reload() -> None:
    """Of two models of one size the one goes whose reloads would cost less, though it is used as often."""
    seen = usage(quick=3, slow=3)
    found = seen.choose([resident("slow", 9.0), resident("quick")], Newcomer("new", 5, 1.0), now_s=NOW_S, rules=EAGER)
    assert found.model_ids == ("quick",)
    assert found.cost == pytest.approx(seen.rate("quick", now_s=NOW_S))


def test_serving_pinned_and_fresh_models_stay() -> None:
    """Where only such are there, nobody goes, and the answer says what is missing."""
    stay = [
        replace(resident("1"), serving=True),
        replace(resident("2"), pinned=True),
        replace(resident("3"), since_s=NOW_S - 59.0),
    ]
    found = usage().choose(stay, Newcomer("new", 15, 1.0), now_s=NOW_S)
    assert (found.model_ids, found.missing_bytes) == (None, 15)
    found = usage().choose([*stay, resident("4")], Newcomer("new", 15, 1.0), now_s=NOW_S)
    assert (found.model_ids, found.missing_bytes) == (None, 5)


def test_two_models_in_turn_keep_still() -> None:
    """Used alternately, and with room for one only, they do not push each other out: the first stays."""
    seen = Usage()
    held, changes = "a", 0
    for turn in range(400):
        model_id, now_s = "ab"[turn % 2], 1000.0 + turn * 10.0
        seen.record(model_id, now_s=now_s)
        if model_id == held:
            continue
        there = replace(resident(held), since_s=0.0)
        if seen.choose([there], Newcomer(model_id, 10, 1.0, required=False), now_s=now_s).model_ids:
            held, changes = model_id, changes + 1
    assert changes <= 1


def test_what_fades_is_forgotten() -> None:
    """Rates fall with time, and a model that nobody used for long is dropped."""
    seen = usage(m=1)
    assert seen.rate("m", now_s=NOW_S) > seen.rate("m", now_s=NOW_S + 600) > 0
    assert seen.prune(now_s=NOW_S + 1e8) == 1
    assert seen.rate("m", now_s=NOW_S) == 0.0


def test_nonsense_is_refused() -> None:
    """Two residents of one name, and an advantage below one."""
    with pytest.raises(FieldInvalidError, match="twice") as caught:
        usage().choose([resident("1"), resident("1")], Newcomer("new", 1, 1.0), now_s=NOW_S)
    assert isinstance(caught.value.__cause__, _allocator.ResidentDuplicateError)
    with pytest.raises(FieldInvalidError, match="advantage"):
        usage().choose([], Newcomer("new", 1, 1.0), now_s=NOW_S, rules=EvictionRules(advantage=0.9))
