"""Which requests of conversations are repeated, and what is remembered for how long."""

from __future__ import annotations

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.ports.conversations import Repeated
from echoplaned.ports.request_counts import NOTHING, RequestCounts
from echoplaned.xds import conversations
from echoplaned.xds.conversations import KNOWN_FOR_S, ConversationLedger

V1, V2 = VersionKey("m", "v1"), VersionKey("m", "v2")
OK, FAILED, LEFT = RequestCounts(ok=1), RequestCounts(server_errors=1), RequestCounts(client_errors=1)


def test_the_first_request_counts_in_every_window() -> None:
    """By version and conversation; the others are repeated, by how they ended; in a later window the first one is so in the rollout."""
    ledger = ConversationLedger(lambda: 0.0)
    ledger.begin_rollout("m")
    for ended in (OK, FAILED, OK):
        ledger.add(V1, "a", ended)
    ledger.add(V1, "b", FAILED)
    ledger.add(V2, "a", FAILED)
    assert ledger.repeated(V1) == Repeated(RequestCounts(ok=1, server_errors=1))
    assert ledger.repeated(V2) == Repeated()
    ledger.begin_window("m")
    ledger.add(V1, "a", FAILED)
    ledger.add(V1, "a", OK)
    assert ledger.repeated(V1) == Repeated(RequestCounts(ok=2, server_errors=1), FAILED)


def test_requests_that_were_left_are_told_apart() -> None:
    """An engine counts them, the gateway's load reports do not; the first one of a conversation may be one."""
    ledger = ConversationLedger(lambda: 0.0)
    ledger.begin_rollout("m")
    ledger.add(V1, "a", LEFT, left=True)
    ledger.add(V1, "a", OK)
    ledger.add(V1, "a", LEFT, left=True)
    ledger.begin_window("m")
    ledger.add(V1, "a", LEFT, left=True)
    assert ledger.repeated(V1) == Repeated(OK, NOTHING, LEFT, LEFT)


def test_a_request_that_says_nothing_is_nobodys_first() -> None:
    """There was no room: the next one counts."""
    ledger = ConversationLedger(lambda: 0.0)
    ledger.begin_rollout("m")
    ledger.add(V1, "a", NOTHING)
    ledger.add(V1, "a", OK)
    assert ledger.repeated(V1) == Repeated()
    assert ledger.has_conversations("m")


def test_nothing_is_kept_of_models_that_nobody_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there are conversations is known for some minutes; a rollout that nobody asks about any more is forgotten."""
    now = [0.0]
    ledger = ConversationLedger(lambda: now[0])
    ledger.add(V1, "a", OK)
    ledger.begin_window("m")
    assert ledger.repeated(V1) == Repeated()
    now[0] = KNOWN_FOR_S + 1
    assert not ledger.has_conversations("m")
    ledger.begin_rollout("m")
    ledger.add(V1, "a", OK)
    now[0] += KNOWN_FOR_S + 1
    ledger.add(V1, "a", OK)
    assert ledger.repeated(V1) == Repeated()
    monkeypatch.setattr(conversations, "MAX_MODELS", 3)
    for number in range(5):
        ledger.add(VersionKey(f"m{number}", "v"), "a", OK)
    assert not ledger.has_conversations("m0")
    assert ledger.has_conversations("m4")


def test_a_rollout_that_is_over_is_forgotten_with_the_next_one() -> None:
    """Also where its model gets no request any more, as one that was deleted: what it kept would stay for ever."""
    now = [0.0]
    ledger = ConversationLedger(lambda: now[0])
    ledger.begin_rollout("m")
    for text in ("a", "a"):
        ledger.add(V1, text, OK)
    kept = ledger.repeated(V1)
    assert kept != Repeated()
    now[0] = KNOWN_FOR_S
    ledger.begin_rollout("n")
    assert ledger.repeated(V1) == kept, "somebody asked a moment ago"
    now[0] += KNOWN_FOR_S + 1
    ledger.begin_rollout("n")
    assert ledger.repeated(V1) == Repeated()


def test_the_longest_silent_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names somebody makes up."""
    monkeypatch.setattr(conversations, "MAX_CONVERSATIONS", 3)
    ledger = ConversationLedger(lambda: 0.0)
    ledger.begin_rollout("m")
    for name in ("a", "b", "c", "a", "d", "a", "b"):
        ledger.add(V1, name, OK)
    assert ledger.repeated(V1) == Repeated(RequestCounts(ok=2))
