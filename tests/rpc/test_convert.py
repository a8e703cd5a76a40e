"""Conversions: round trips where both ways exist, and totality where only one does."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.events import InstancePlaced, RoutesProgressed
from echoplaned.core.facts import Dtype, Signature, TensorSpec
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.memory import MemoryHolder
from echoplaned.core.placement import LOCAL_NODE, DeviceShare, Placement
from echoplaned.core.plan import Alternative, Component, DeviceFit, Plan, Reservoir
from echoplaned.core.rollout_state import (
    TERMINAL_PHASES,
    EntryKind,
    Evidence,
    GateVerdict,
    Phase,
    Rollout,
    RolloutEntry,
    Verdict,
)
from echoplaned.core.spec import (
    BehaviourChange,
    EchoPolicy,
    EchoPreset,
    OnExpire,
    ReservoirOverrides,
    RolloutPolicy,
    Tier,
)
from echoplaned.core.state import InstanceState, Model, VersionState
from echoplaned.core.step import step
from echoplaned.gates import evaluation
from echoplaned.gates.gate import Observation, Source, Start
from echoplaned.gates.standard import list_gates
from echoplaned.gates.window import Window
from echoplaned.ports.leaders import no_pid
from echoplaned.ports.request_counts import Interval, RequestCounts
from echoplaned.rpc.convert import common
from echoplaned.rpc.convert.devices import device_to_pb
from echoplaned.rpc.convert.models import model_to_pb
from echoplaned.rpc.convert.plans import overrides_from_pb, overrides_to_pb, plan_from_pb, plan_to_pb
from echoplaned.rpc.convert.rollouts import (
    PHASE_TO_PB,
    acknowledged_before,
    entry_kind,
    policy_from_pb,
    policy_to_pb,
    rollout_to_pb,
    verdict_to_pb,
)
from echoplaned.rpc.convert.versions import signature_from_pb, signature_to_pb, version_to_pb
from echoplaned.rpc.principal import set_scope
from echoplaned.testing import builders
from echoplaned.testing.transcript import Transcript

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
BYTES = st.integers(0, 2**62)
COUNTS = st.integers(0, 2**31 - 1)
REALS = st.floats(0, 1e6, allow_nan=False)
DTYPES = st.sampled_from(Dtype)
RESERVOIRS = st.builds(
    Reservoir,
    size_class=st.sampled_from(["small", "medium", "large"]),
    membrane_depth=COUNTS,
    units=COUNTS,
    tree=st.lists(COUNTS, max_size=4).map(tuple),
    level_time_constants=st.lists(REALS, max_size=4).map(tuple),
    bytes_per_stream=BYTES,
    total_bytes=BYTES,
    spectral_radius=REALS,
    leak=REALS,
    input_scale=REALS,
    seed=BYTES,
    block_density=REALS,
)
HOLDERS = st.lists(st.builds(MemoryHolder, WORDS, BYTES), max_size=2).map(tuple)
PLANS = st.builds(
    Plan,
    fits=st.booleans(),
    architecture=WORDS,
    parameter_count=BYTES,
    dtype=DTYPES,
    context_length=COUNTS,
    max_concurrency=COUNTS,
    replicas=COUNTS,
    bytes=BYTES,
    upper_bytes=BYTES,
    components=st.lists(
        st.builds(Component, WORDS, BYTES, WORDS, st.lists(st.tuples(WORDS, BYTES), max_size=2).map(tuple), WORDS),
        max_size=2,
    ).map(tuple),
    device_ids=st.lists(WORDS, max_size=2).map(tuple),
    devices=st.lists(st.builds(DeviceFit, WORDS, BYTES, BYTES, BYTES, HOLDERS), max_size=2).map(tuple),
    alternatives=st.lists(st.builds(Alternative, DTYPES, COUNTS, COUNTS, BYTES, WORDS, WORDS), max_size=2).map(tuple),
    reservoir=st.none() | RESERVOIRS,
    surge=st.booleans(),
    warnings=st.lists(WORDS, max_size=2).map(tuple),
    cpu_isa=WORDS,
)
POLICIES = st.builds(
    RolloutPolicy,
    name=WORDS,
    stages_percent=st.lists(st.integers(1, 100), min_size=1, max_size=7).map(tuple),
    extended_stages_percent=st.lists(st.integers(1, 100), min_size=1, max_size=7).map(tuple),
    on_expire=st.sampled_from(OnExpire),
    probe_count=st.integers(1, 10_000),
    echo=st.builds(
        EchoPolicy,
        st.booleans(),
        st.none() | REALS,
        st.none() | REALS,
        REALS,
        st.integers(1, 10_000),
        st.booleans(),
        st.none() | st.sampled_from(EchoPreset),
    ),
    **{
        f.name: REALS
        for f in fields(RolloutPolicy)
        if f.type == "float"  # types are strings here
    },
)


@given(PLANS)
def test_plans_round_trip(plan: Plan) -> None:
    """A plan comes back from its message as it was."""
    assert plan_from_pb(plan_to_pb(plan)) == plan


def test_a_plan_tells_of_nobody_elses_versions_and_processes() -> None:
    """A caller who is for some models alone is not told what else would have to go for a load, nor what else runs."""
    victims = (
        ("models/theirs/versions/v1",),
        ("models/mine/versions/v1", "models/theirs/versions/v1"),
        ("models/mine/versions/v1",),
    )
    alternatives = tuple(Alternative(Dtype.FP32, 1, 1, 1, "host", victims=each) for each in victims)
    fit = DeviceFit("host", 1, 2, 1, (MemoryHolder("theirs", 1),))
    plan = Plan(False, "a", 1, Dtype.FP32, 1, 1, 1, 1, 1, alternatives=alternatives, devices=(fit,))
    set_scope(("mine",))
    try:
        told = plan_to_pb(plan)
    finally:
        set_scope(())
    assert [tuple(each.victims) for each in told.alternatives] == [victims[2]]
    assert (told.devices[0].foreign_bytes, len(told.devices[0].holders)) == (1, 0)
    assert plan_from_pb(plan_to_pb(plan)) == plan


@given(POLICIES)
def test_policies_round_trip(policy: RolloutPolicy) -> None:
    """A policy comes back from its message as it was, every field of it."""
    assert policy_from_pb(policy_to_pb(policy)) == policy


def test_a_policy_that_says_nothing() -> None:
    """An empty policy is the default one; a field set to 0 is 0 and not the default."""
    assert policy_from_pb(rollouts_pb2.RolloutPolicy()) == RolloutPolicy()
    assert policy_from_pb(rollouts_pb2.RolloutPolicy(soak_s=0)) == replace(RolloutPolicy(), soak_s=0.0)


def test_a_policy_message_has_every_field() -> None:
    """The message has the same fields as the core's policy, so that none can be forgotten on the way."""
    names = {f.name for f in rollouts_pb2.RolloutPolicy.DESCRIPTOR.fields}
    assert names == {f.name for f in fields(RolloutPolicy)}


@given(st.builds(ReservoirOverrides, *(st.none() | REALS for _ in range(3)), st.none() | BYTES, st.none() | REALS))
def test_overrides_round_trip(overrides: ReservoirOverrides) -> None:
    """What is left out stays left out, and a 0 stays a 0."""
    assert overrides_from_pb(overrides_to_pb(overrides)) == overrides


@given(
    st.builds(
        Signature,
        *(
            st.lists(st.builds(TensorSpec, WORDS, WORDS, st.lists(st.integers(-1, 2**40)).map(tuple))).map(tuple)
            for _ in range(2)
        ),
    )
)
def test_signatures_round_trip(signature: Signature) -> None:
    """A signature comes back from its message as it was."""
    assert signature_from_pb(signature_to_pb(signature)) == signature


@given(st.floats())
def test_every_time_can_be_shown(seconds: float) -> None:
    """NaN, infinities and times beyond the calendar become the nearest that a timestamp or duration holds."""
    assert 0 <= common.timestamp(seconds).seconds < 2**38
    assert abs(common.duration(seconds).seconds) < 2**39


@given(st.floats(0, 4e9))
def test_times_keep_microseconds(seconds: float) -> None:
    """A time loses nothing above a microsecond."""
    assert common.timestamp(seconds).ToMicroseconds() == pytest.approx(seconds * 1e6, abs=1)


@pytest.mark.parametrize(
    ("table", "members"),
    [
        (common.DTYPE_TO_PB, Dtype),
        (common.TIER_TO_PB, Tier),
        (common.BEHAVIOUR_TO_PB, BehaviourChange),
        (common.ON_EXPIRE_TO_PB, OnExpire),
        (common.INSTANCE_STATE_TO_PB, InstanceState),
        (common.VERDICT_TO_PB, GateVerdict),
        (common.EVIDENCE_TO_PB, Evidence),
        (PHASE_TO_PB, Phase),
    ],
)
def test_enums_are_total(table: dict[Any, int], members: type[Enum]) -> None:
    """Every word of the core has its number in the API."""
    assert set(table) == set(members)
    assert all(number > 0 or member.value == "UNSPECIFIED" for member, number in table.items())


def test_version_states_of_the_api() -> None:
    """The API's version states are the core's, and those that are derived or come later."""
    names = {name.removeprefix("VERSION_STATE_") for name in models_pb2.VersionState.keys()}  # noqa: SIM118
    assert {s.value for s in VersionState} | {"UNSPECIFIED", "SERVING", "PARKED"} == names


ROLLOUT = Rollout("r1", "m", "v1", "v2", RolloutPolicy(), "o1", phase=Phase.SHIFTING, stage=3)


def entry(sequence: int, phase: Phase, stage: int, text: str = "x") -> RolloutEntry:
    """Return a line of a history."""
    return RolloutEntry(sequence, float(sequence), phase, stage, text)


def test_weights_that_were_acknowledged_before() -> None:
    """They are those of the stage that was observed last; before the first, the old version has all."""
    assert acknowledged_before(ROLLOUT) == {"v1": 1_000_000}
    history = (entry(1, Phase.OBSERVING, 1), entry(2, Phase.SHIFTING, 2), entry(3, Phase.OBSERVING, 2))
    seen = replace(ROLLOUT, history=(*history, entry(4, Phase.SHIFTING, 3)))
    assert acknowledged_before(seen) == {"v1": 850_000, "v2": 150_000}
    last = replace(ROLLOUT, history=(entry(1, Phase.OBSERVING, 7),))
    assert acknowledged_before(last) == {"v1": 1, "v2": 999_999}


def test_thousands_of_silent_subscribers_fit_in_a_message() -> None:
    """With 5,300 of them, by ids as long as may be, what each watcher is sent stays far below gRPC's 4 MiB; all are counted."""
    transcript = Transcript()
    for line in ("load m v1", "reserved m/v1#0 host 128", "ready m/v1#0", "probes-passed m/v1#0", "acked m by=0/0"):
        transcript.play(line)
    for line in ("update m v2", "reserved m/v2#0 host 128", "ready m/v2#0", "probes-passed m/v2#0"):
        transcript.play(line)
    silent = [f"{number:04}" + "\U00020000" * 196 for number in range(5300)]
    routes = transcript.state.models["m"].routes
    assert routes is not None
    told = RoutesProgressed(
        transcript.now_s, "m", routes.epoch, acknowledged=True, acknowledged_count=0, subscriber_count=5300
    )
    model = step(transcript.state, replace(told, stale=tuple(silent))).state.models["m"]
    assert model.rollout is not None
    message = rollout_to_pb(model, model.rollout)
    assert (list(message.stale_subscribers), message.stale_subscriber_count) == (silent[:20], 5300)
    assert message.ByteSize() < 32 * 1024


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_is_shown(phase: Phase) -> None:
    """A rollout can be shown in every phase, with a word for its history's last line."""
    rollout = replace(ROLLOUT, phase=phase, history=(entry(1, phase, 3),))
    message = rollout_to_pb(Model("m"), rollout)
    assert message.phase == PHASE_TO_PB[phase]
    assert message.history[0].kind
    ended = phase in {Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED, Phase.DELETED}
    assert (message.outcome != rollouts_pb2.ROLLOUT_OUTCOME_UNSPECIFIED) == ended


def test_words_of_a_history() -> None:
    """A line's stable word comes from its kind, or from the phase that the rollout came into; never from its prose."""
    kinds = {kind: entry_kind(replace(entry(1, Phase.SHIFTING, 1, "paused"), kind=kind)) for kind in EntryKind}
    assert kinds.pop(EntryKind.MOVED) == "published"
    assert kinds == {kind: kind.value.lower() for kind in kinds}
    words = {phase: entry_kind(entry(1, phase, 1, "held: no")) for phase in Phase}
    assert words[Phase.OBSERVING] == "acknowledged"
    assert {words[phase] for phase in TERMINAL_PHASES} == {"ended"}


def test_counts_of_a_verdict() -> None:
    """Counts go to the fields of their names; what the API has no field for is left to the reason's words."""
    counts = (("new_request_count", 300), ("e_value", 17), ("error_increase_upper_bound_ppm", 12_500), ("odd", 1))
    shown = verdict_to_pb(Verdict("errors", GateVerdict.PASS, "enough", 0.95, counts), 2, 5, 7.0)
    assert (shown.counts.new_request_count, shown.counts.e_value) == (300, 17)
    assert shown.counts.error_increase_upper_bound == pytest.approx(0.0125)
    assert not shown.counts.HasField("observed_share_ppm")
    assert (shown.stage, shown.window, shown.time.seconds) == (2, 5, 7)


def test_every_count_of_a_verdict_has_a_field() -> None:
    """What the gates count is in the API, whichever gate speaks."""
    window = Window(RolloutPolicy(extended_stages_percent=(5,)), stage=1, number=1, began_s=0.0)
    interval = Interval(RequestCounts(ok=5, arrivals=5), RequestCounts(ok=95, arrivals=95))
    sources = (Source("WORKER", tells_client_errors=True, routed=False, reporting=True),)
    start = Start(window, sources, Model("m"), Rollout("r", "m", "v1", "v2", window.policy, "op"))
    evidence = evaluation.begin(list_gates(None, has_traces=False), start)
    evidence = evaluation.observe(evidence, Observation(20.0, (("WORKER", interval),), 0.05, 1))
    verdicts = evaluation.weigh(evidence, 20.0).verdicts
    assert {verdict.gate for verdict in verdicts} == {"errors", "arrivals", "probes"}
    known = set(rollouts_pb2.GateCounts.DESCRIPTOR.fields_by_name)
    assert {name for verdict in verdicts for name, _ in verdict.counts} <= known


def test_an_empty_model() -> None:
    """A model without versions or routes can be shown."""
    message = model_to_pb(Model("m"))
    assert (message.name, message.serving_version, list(message.traffic)) == ("models/m", "", [])
    assert not message.HasField("signature")


def test_an_instance_over_two_devices() -> None:
    """It names both, reserves their sum, and each device shows its own share."""
    devices = (builders.device("cuda:0"), builders.device("cuda:1"))
    state = builders.run(builders.empty_state(*devices), LoadVersion(Request(0.0, "op1"), builders.order()))
    shares = (DeviceShare("cuda:0", 300), DeviceShare("cuda:1", 200))
    key = InstanceKey(VersionKey("m", "v1"), 0)
    state = builders.run(state, InstancePlaced(0.0, key, Placement(LOCAL_NODE, shares), state.reservation_epoch))
    model = state.models["m"]
    (shown,) = version_to_pb(model, model.versions["v1"], no_pid).instances
    assert (shown.device, shown.reserved_bytes, shown.pid) == ("cuda:0,cuda:1", 500, 0)
    assert [(one.reserved_bytes, one.reservations[0].bytes) for one in (device_to_pb(d, state) for d in devices)] == [
        (300, 300),
        (200, 200),
    ]
