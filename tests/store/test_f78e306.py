"""What release f78e306 left in a state directory, with a rollout at 50 %, is read whole and gone on with.

The database and the leaders' records were made by that release's own code: ``data/f78e306.py.txt`` says how.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.effects import EvaluateGates, PublishRoutes
from echoplaned.core.endpoints import EndpointProtocol, tcp_endpoint
from echoplaned.core.events import Event, FoundEngine, GatesJudged, Recovered, RoutesProgressed
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.queries import reserved_bytes
from echoplaned.core.rollout_state import GateVerdict, Phase, Verdict
from echoplaned.core.spec import BehaviourChange, ReservoirOverrides, RolloutPolicy, ServingShape, Tier, VersionSpec
from echoplaned.core.state import Instance, InstanceState, Model, OperationKind, State, StopOutcome
from echoplaned.core.step import Step, step
from echoplaned.store import SqlStore
from echoplaned.store.store import DATABASE_NAME
from echoplaned.testing import builders
from echoplaned.worker_contract.record import WorkerRecord

DATA = Path(__file__).parent / "data"
MIB = builders.MIB
AT = tcp_endpoint(EndpointProtocol.OIP_GRPC, "127.0.0.1:5200")


@pytest.fixture
def store(state_dir: Path) -> SqlStore:
    """Return the store of a state directory that the release left."""
    state_dir.mkdir(mode=0o700)
    with sqlite3.connect(state_dir / DATABASE_NAME) as connection:
        connection.executescript((DATA / "f78e306.sql").read_text(encoding="utf-8"))
    connection.close()
    return SqlStore.open(state_dir)


def instances(model: Model, version: str) -> tuple[Instance, ...]:
    """Return the instances of a version."""
    return model.versions[version].instances


def test_every_field_comes_over(store: SqlStore) -> None:
    """Shapes, tiers, placements, endpoints and outcomes are what the old columns and documents said."""
    state = store.load()
    assert (state.store_epoch, state.reservation_epoch, state.route_epoch, state.announce_sequence) == (44, 8, 12, 29)
    assert list(state.models) == ["m", "n", "o", "p"]
    first = state.models["m"].versions["v1"]
    shape = ServingShape(Dtype.FP32, 512, 8, "torch", 1, (("torch_threads", "2"),))
    reservoir = ReservoirOverrides(leak=0.25, seed=7)
    assert first.spec == VersionSpec("file:v1", "/models/v1", "blake3:v1", shape, reservoir)
    assert (first.requested_tier, first.desired_tier, first.pinned) == (Tier.HOT, Tier.HOT, True)
    assert first.int8_baseline is not None
    assert first.instances == (
        Instance(
            InstanceKey.parse("m/v1#0"),
            state=InstanceState.READY,
            placement=on_one_device("host", 128 * MIB),
            endpoints=(AT,),
            ready_since_s=0.0,
            measured_bytes=120 * MIB,
        ),
    )
    assert [reserved_bytes(state, name) for name in ("host", "cuda:0")] == [(128 + 128 + 64 + 32 + 32) * MIB, 96 * MIB]
    assert [(w.key.device, w.samples[0].subject) for w in state.calibrations] == [("host memory", "m/v1#0.1")]
    assert state.operations["op1"].request_id == "first-load"
    store.close()


def test_what_is_on_its_way_comes_over(store: SqlStore) -> None:
    """A restart that waits, a stop that ends in a failure, a version that is not wanted, a deletion, a rollout that is over."""
    state = store.load()
    waiting = instances(state.models["n"], "v1")[1]
    assert (waiting.state, waiting.generation, waiting.endpoints) == (InstanceState.STARTING, 2, ())
    assert (waiting.restart_at_s, waiting.placement) == (18.5, on_one_device("cuda:0", 96 * MIB))
    unwanted = state.models["n"].versions["v2"]
    assert (unwanted.requested_tier, unwanted.desired_tier) == (Tier.HOT, Tier.COLD)
    assert unwanted.failure is not None
    (over,) = state.models["n"].past_rollouts
    assert (over.phase, over.outcome, over.evidence_window) == (Phase.FAILED, Phase.FAILED, 1)
    deleted = state.models["o"].versions["v1"]
    assert (state.models["o"].deleting, deleted.desired_tier, deleted.delete_when_stopped) == ("op44", Tier.COLD, True)
    assert state.operations["op44"].kind is OperationKind.DELETE_MODEL
    (stopping,) = instances(state.models["p"], "v1")
    assert (stopping.state, stopping.outcome) == (InstanceState.STOPPING, StopOutcome.FAILED)
    assert stopping.failure is not None
    assert stopping.failure.reason is Reason.ENGINE_START_FAILED
    store.close()


def test_the_rollout_comes_over(store: SqlStore) -> None:
    """Phase, stage, window, policy and history are those that the release wrote."""
    rollout = store.load().models["m"].rollout
    assert rollout is not None
    assert (rollout.phase, rollout.stage, rollout.evidence_window) == (Phase.OBSERVING, 4, 9)
    assert (rollout.cluster_acknowledged, rollout.outcome) == (True, None)
    assert (rollout.policy, rollout.behaviour_change) == (RolloutPolicy(), BehaviourChange.EQUIVALENT)
    assert [entry.sequence for entry in rollout.history] == list(range(1, 11))
    store.close()


def found(state: State) -> tuple[FoundEngine, ...]:
    """Return the engines whose records the release wrote."""
    lines = (DATA / "f78e306.json").read_text(encoding="utf-8").splitlines()
    records = [WorkerRecord.from_json(line) for line in lines]
    assert [(record.kind, record.contract, record.mark) for record in records] == [("", 1, "")] * 2
    return tuple(
        FoundEngine(InstanceKey.parse(one.instance), one.generation, one.endpoints, one.worker_id) for one in records
    )


def test_the_rollout_goes_on(store: SqlStore, state_dir: Path) -> None:
    """The leaders are adopted by their records, the stage begins a new window with the old weights, and the next one comes."""
    before = store.load()
    state = replace(before, devices=(builders.device(), builders.device("cuda:0")))
    result = step(state, Recovered(30.0, found(state)))
    again = result.state.models["m"]
    assert [i.leader_id for v in ("v1", "v2") for i in instances(again, v)] == ["w-m1", "w-m2"]
    assert again.routes == state.models["m"].routes
    assert any(isinstance(one, PublishRoutes) and one.model == "m" for one in result.effects)
    result = step(result.state, acknowledged(result.state))
    assert [one.rollout.stage for one in result.effects if isinstance(one, EvaluateGates)] == [4]
    result = step(result.state, passed(result.state))
    moved = result.state.models["m"].rollout
    assert moved is not None
    assert (moved.phase, moved.stage) == (Phase.SHIFTING, 5)
    assert weights(result) == {"v1": 250_000, "v2": 750_000}
    commit(store, before, result.state)
    store.close()
    with_new_code = SqlStore.open(state_dir)
    assert with_new_code.load().models["m"].rollout == replace(moved, stale_subscribers=(), stale_subscriber_count=0)
    with_new_code.close()


def acknowledged(state: State) -> Event:
    """Return the event that everybody has the newest routes of ``m``."""
    routes = state.models["m"].routes
    assert routes is not None
    return RoutesProgressed(31.0, "m", routes.epoch, acknowledged=True, acknowledged_count=1, subscriber_count=1)


def passed(state: State) -> Event:
    """Return the event that the present window of ``m`` passes."""
    rollout = state.models["m"].rollout
    assert rollout is not None
    verdicts = (Verdict("errors", GateVerdict.PASS, "enough"),)
    return GatesJudged(40.0, "m", rollout.rollout_id, rollout.stage, rollout.evidence_window, verdicts)


def weights(result: Step) -> dict[str, int]:
    """Return the weights that a step publishes."""
    (published,) = [one for one in result.effects if isinstance(one, PublishRoutes)]
    return {cluster.version: cluster.weight_ppm for cluster in published.routes.clusters}


def commit(store: SqlStore, before: State, after: State) -> None:
    """Write everything that was stepped over as one commit."""
    store.commit(before, replace(after, store_epoch=before.store_epoch + 1), ())
