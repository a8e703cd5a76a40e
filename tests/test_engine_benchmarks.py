"""The benchmarks of foreign engines: what they make of what they saw, and the short model against planning."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.door.blame import Ended
from benchmarks.door.rollouts import policy_of
from benchmarks.door.versions import Candidate
from benchmarks.engine import rollouts, supervisor
from benchmarks.engine.short_model import shorten
from benchmarks.engine.supervisor import SHORT, Rest, Round
from benchmarks.engine.world import CHAT
from benchmarks.peers.engine_load import DIRECT, TRANSLATED
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import size_model, survey_model
from tests.engines.llama_parts import model_file


def test_versions_take_turns_and_each_fault_is_in_its_place() -> None:
    """Of twelve, six are bad, each otherwise: by its file, its context, its template, or by what is done to it."""
    made = rollouts.candidates(12, Path("good"), Path("spoilt"))
    bad = {one.fault: one for one in made if one.fault}
    assert [bool(one.fault) for one in made] == [False, True] * 6
    assert tuple(bad) == rollouts.FAULTS
    assert [fault for fault, one in bad.items() if one.source == Path("spoilt")] == [rollouts.QUANTISATION]
    assert [fault for fault, one in bad.items() if one.context == rollouts.CUT_CONTEXT] == [rollouts.CUT]
    assert [fault for fault, one in bad.items() if one.is_struck] == list(rollouts.FAULTS[3:])
    assert dict(bad[rollouts.TEMPLATE].update(policy_of(CHAT, busy=False)).engine_options) == {
        "chat_template": rollouts.OTHER_TEMPLATE
    }
    assert len({one.version for one in made}) == 12


def test_a_fault_that_nobody_heard_is_told() -> None:
    """One line a fault, with how many of it were not taken back."""
    good, bad = (
        Candidate("chat", "v1", Path("a")),
        Candidate("chat", "v2", Path("a"), rollouts.TEMPLATE),
    )
    ended = [
        Ended(good, "SUCCEEDED", "", 10.0, 0.0, 1.0, ()),
        Ended(bad, "SUCCEEDED", "", 20.0, 0.0, 1.0, ()),
        Ended(bad, "ROLLED_BACK", "worse", 30.0, 0.0, 1.0, ()),
    ]
    found = {row.name: row for row in rollouts.fault_rows(ended)}
    missed = found[f"{rollouts.TEMPLATE}: not taken back, of 2"]
    assert (missed.value, missed.met) == (1, False)
    assert found["good: taken back, of 1"].met is True
    assert found[f"{rollouts.TEMPLATE}: the longest rollout"].value == 30.0


def test_the_translation_stands_beside_the_engine_itself() -> None:
    """Medians of the rounds of one rate; what failed is added up over both ways."""
    seen = [
        Round(SHORT, way, 300, 299.0, p50, 9.0, cost, 2.0, 0.3, 1)
        for way, p50, cost in ((DIRECT, 2.0, 0.1), (TRANSLATED, 4.0, 1.5), (DIRECT, 2.0, 0.1), (TRANSLATED, 6.0, 1.7))
    ]
    found = {row.name: row for row in supervisor.rows(seen)}
    latency = found[f"{SHORT}, 300/s: p50"]
    assert (latency.value, latency.reference, latency.reference_value) == (5.0, DIRECT, 2.0)
    assert found[f"{SHORT}, 300/s: supervisor"].value == pytest.approx(1.6)
    assert found[f"{SHORT}, 300/s: failed, both ways"].value == 4
    rest = {row.name: row for row in supervisor.rest_rows(SHORT, Rest(32.0, 0.4), 61.0)}
    assert rest[f"{SHORT}: the supervisor's PSS at rest"].met is True
    assert rest[f"{SHORT}: its PSS after the load"].met is False


@pytest.mark.long
def test_a_short_model_has_one_layer_and_few_tokens(tmp_path: Path) -> None:
    """The rest stays; a token's cache is that of one layer."""
    short = shorten(model_file(), tmp_path / "short.gguf", layers=1, tokens=1024)
    asked = ShapeRequest(engine="llama.cpp", max_concurrency=1)
    whole, cut = (size_model(path, asked).kv_bytes_per_token for path in (model_file(), short))
    assert whole == 30 * cut
    assert survey_model(short).facts.max_context_length == survey_model(model_file()).facts.max_context_length
