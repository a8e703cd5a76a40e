"""A state whose rows do not fit together is named and refused when it is read; what the core itself leads to never is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from echoplaned.core.calibration import EngineKey, MemorySample
from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.effects import Announce
from echoplaned.core.engine_events import EngineStuck, MemorySampled
from echoplaned.core.events import Recovered, Tick
from echoplaned.core.rollout_state import Phase
from echoplaned.core.state import State
from echoplaned.core.step import step
from echoplaned.store import SqlStore, StoreCorruptError
from echoplaned.store.references import check_references
from echoplaned.store.store import DATABASE_NAME
from echoplaned.testing import builders
from echoplaned.testing.transcript import Transcript

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "core" / "transcripts").glob("*.txt"))


def state_under_update() -> State:
    """Return a state with a rollout that is over, one in its first stage, a load that waits, and a reading."""
    story = Transcript()
    story.prepare("m/v1 serving")
    story.prepare("m/v2 observed")
    state = step(story.state, LoadVersion(Request(1.0, "op-n"), builders.order("n", "v1"))).state
    sample = MemorySample("m/v1#0.1", 1.0, 1, -2, 3, -4)
    state = step(state, MemorySampled(2.0, EngineKey("torch", "torch 2", "host memory"), sample)).state
    model = state.models["m"]
    assert model.rollout is not None
    # What a rollout that is over names may have been deleted since.
    over = replace(model.rollout, rollout_id="r-v0", to_version="v0", phase=Phase.FAILED)
    models = {**state.models, "m": replace(model, past_rollouts=(over,), aliases=("Org/M",))}
    return replace(state, models=MappingProxyType(models))


def written(store: SqlStore, state: State) -> State:
    """Commit a state and return it without what is only observed."""
    announce = Announce(state.announce_sequence, 1.0, "models/m", "model.created", "model m was created")
    store.commit(store.load(), state, (announce,))
    return store.load()


def document(table: str, path: str, value: str) -> str:
    """Return the statement that changes one value of every document of a table; ``value`` is SQL."""
    return f"UPDATE {table} SET document = json_set(document, '$.{path}', {value})"  # noqa: S608 - this test's own words


REFUSED = [
    ("UPDATE meta SET store_epoch = 9223372036854775807", "meta: store_epoch: 9223372036854775807 is not within 0"),
    ("UPDATE meta SET announce_sequence = -1", "meta: announce_sequence: -1 is not within 0"),
    ("UPDATE meta SET announce_sequence = 1", "announce_sequence"),
    ("UPDATE meta SET route_epoch = 0", "models m: routes.epoch: "),
    (
        "UPDATE models SET serving_version = 'v9' WHERE model_id = 'm'",
        "models m: serving_version: there is no version 'v9'",
    ),
    ("UPDATE models SET update_time_s = 9e999", "models m: update_time_s: inf is not within"),
    ("UPDATE models SET create_time_s = -1.0", "models m: create_time_s: -1.0 is not within"),
    (document("models", "aliases", "json('[\"n\"]')"), "models m: aliases: the name 'n' is taken"),
    (document("models", "aliases", "json('[\"\\ud800\"]')"), "models m: aliases.0: the text holds half a character"),
    (document("models", "routes.clusters[0].weight_ppm", "-5"), "routes.clusters.0.weight_ppm: -5 is not within 0"),
    (document("models", "routes.clusters[0].weight_ppm", "7"), "models m: routes.clusters: weights add up to "),
    (document("models", "routes.clusters[0].version", "'v9'"), "models m: routes.clusters: there is no version 'v9'"),
    (document("models", "routes.model", "'x'"), "models m: routes.model: 'x' is another one"),
    (
        document("versions", "spec.shape.replicas", "1 << 62"),
        "spec.shape.replicas: 4611686018427387904 is not within 1 and 64",
    ),
    (document("versions", "spec.shape.replicas", "0"), "versions m/v1: spec.shape.replicas: 0 is not within 1 and 64"),
    (document("versions", "facts.weights_bytes", "-1"), "versions m/v1: facts.weights_bytes: -1 is not within 0"),
    (
        document("versions", "spec.source_uri", "json('\"file:\\udcff\"')"),
        "versions m/v1: spec.source_uri: the text holds half",
    ),
    (document("versions", "next_ordinal", "0"), "instances m/v1/0: ordinal: the version's next one is 0"),
    ("UPDATE versions SET create_time_s = 9e999", "versions m/v1: create_time_s: inf is not within"),
    ("UPDATE instances SET ordinal = -1 WHERE model_id = 'm' AND version_id = 'v2'", "instances m/v2/-1: ordinal: "),
    ("UPDATE instances SET generation = 0", "instances m/v1/0: generation: 0 is not within 1"),
    ("UPDATE instances SET state = 'GONE'", "instances m/v1/0: state: what is GONE is not kept"),
    ("UPDATE instances SET state = 'STOPPING'", "instances m/v1/0: outcome: there is none, though it is STOPPING"),
    (document("instances", "placement", "NULL"), "instances m/v1/0: placement: there is none, though it is READY"),
    (
        document("instances", "placement.shares[0].bytes", "1 << 62"),
        "placement.shares.0.bytes: 4611686018427387904 is not",
    ),
    (document("instances", "ready_since_s", "'nan'"), "instances m/v1/0: ready_since_s: nan is not within"),
    ("UPDATE rollouts SET from_version = 'v9'", "rollouts m/r-v2: from_version: there is no version 'v9'"),
    ("UPDATE rollouts SET to_version = 'v9'", "rollouts m/r-v2: to_version: there is no version 'v9'"),
    ("UPDATE rollouts SET to_version = ''", "rollouts m/r-v2: to_version: there is no version ''"),
    ("UPDATE rollouts SET stage = 99 WHERE position IS NULL", "rollouts m/r-v2: stage: 99 is not within 0 and "),
    ("UPDATE rollouts SET stage = 99 WHERE position IS NOT NULL", "rollouts m/r-v0: stage: 99 is not within 0 and "),
    ("UPDATE rollouts SET stage = 0", "rollouts m/r-v2: stage: there is none, though it is OBSERVING"),
    ("UPDATE rollouts SET phase = 'SUCCEEDED'", "rollouts m/r-v2: phase: it is under way, and SUCCEEDED at once"),
    ("UPDATE rollouts SET phase = 'OBSERVING'", "rollouts m/r-v0: phase: it has ended, and not in OBSERVING"),
    ("UPDATE rollouts SET phase_since_s = -9e999", "phase_since_s: -inf is not within"),
    (document("rollouts", "outcome", "'SUCCEEDED'"), "rollouts m/r-v2: outcome: nothing leads to SUCCEEDED"),
    (document("rollouts", "policy.stages_percent", "json('[]')"), "policy.stages_percent: it must rise from 1"),
    (document("rollouts", "policy.stages_percent", "json('[50, 20, 100]')"), "policy.stages_percent: it must rise"),
    (document("rollouts", "policy.stage_max_s", "'nan'"), "policy.stage_max_s: nan is not within"),
    (document("rollouts", "policy.confidence", "1.0"), "policy.confidence: 1.0 is not within"),
    ("UPDATE rollout_events SET stage = 99 WHERE sequence = 1", "rollout_events m/r-v0/1: stage: 99 is not within 0"),
    ("DELETE FROM rollout_events WHERE sequence = 1", "rollout_events m/r-v0/2: sequence: 1 is missing"),
    ("UPDATE rollout_events SET time_s = 1e300", "rollout_events m/r-v0/1: time_s: 1e+300 is not within"),
    ("UPDATE operations SET model = 'x', done = 0", "model: it runs, and there is no model 'x'"),
    (
        "UPDATE operations SET operation_id = 'a/b' WHERE operation_id = 'op-n'",
        "operations a/b: 'operations/a/b' is no name",
    ),
    (document("operations", "plan.upper_bytes", "-1"), "plan.upper_bytes: -1 is not within 0"),
    ("UPDATE readings SET time_s = 9e999", "readings torch/torch 2/host memory/m/v1#0.1: time_s: inf is not within"),
    ("UPDATE announces SET sequence = 1 << 40", "announces 1099511627776: sequence: the last one is "),
    ("UPDATE announces SET sequence = 'last'", "announces: a row's sequence is str"),
]


@pytest.mark.parametrize(("statement", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_value_that_cannot_be_is_named(store: SqlStore, state_dir: Path, statement: str, message: str) -> None:
    """One value of the right type that another hand put there: its table, its row and what is wrong, and no traceback later."""
    written(store, state_under_update())
    with closing(sqlite3.connect(state_dir / DATABASE_NAME)) as foreign:
        changed = foreign.execute(statement).rowcount
        foreign.commit()
    assert changed
    with pytest.raises(StoreCorruptError) as caught:
        store.load()
    assert message in str(caught.value)
    assert "try again" not in str(caught.value)


def test_what_was_not_changed_is_read(store: SqlStore) -> None:
    """A rollout that is over may name a version that was deleted since; bytes beyond a formula may be negative."""
    state = written(store, state_under_update())
    assert state.models["m"].past_rollouts[0].to_version not in state.models["m"].versions
    assert store.load() == state


def test_a_model_that_is_deleted_may_name_versions_that_have_gone() -> None:
    """They go one by one, while one that still drains keeps the model."""
    story = Transcript()
    story.prepare("m/v1 serving")
    model = story.state.models["m"]
    gone = replace(model, deleting="op-d", serving_version="v0")
    check_references(replace(story.state, models=MappingProxyType({"m": gone})))


def test_a_clock_that_is_put_back_to_1970_leaves_a_state_that_is_read(store: SqlStore) -> None:
    """Times that are moved with it come to lie before it, the beginning of a held stop among them."""
    state = state_under_update()
    version = state.models["m"].versions["v1"]
    stuck = EngineStuck(2000.0, version.instances[0].key, version.instances[0].generation, "silent")
    held = step(step(state, Tick(2000.0)).state, stuck).state
    assert any(one.held_since_s is not None for one in held.models["m"].versions["v1"].instances)
    moved = step(held, Recovered(5.0, (), -4000.0)).state
    assert any((one.held_since_s or 0.0) < 0.0 for one in moved.models["m"].versions["v1"].instances)
    check_references(moved)
    assert written(store, moved).models["m"].versions["v1"].instances


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_whatever_the_core_leads_to_is_read(store: SqlStore, path: Path) -> None:
    """After every event of a transcript the state fits together, and the last one comes back from a database."""
    story = Transcript()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("given "):
            story.prepare(line.removeprefix("given "))
        if line.startswith("> "):
            story.play(line[2:])
        check_references(story.state)
    if story.state.store_epoch:
        assert written(store, story.state).store_epoch == story.state.store_epoch
