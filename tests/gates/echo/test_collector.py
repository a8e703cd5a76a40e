"""Behaviour evidence: golden texts through the runner, and live requests from telemetry."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import pytest

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.effects import EvaluateGates
from echoplaned.core.engine_events import Int8BaselineMeasured
from echoplaned.core.plan import Reservoir
from echoplaned.core.rollout_state import GateVerdict, Rollout
from echoplaned.core.spec import EchoPolicy
from echoplaned.gates.counting import TotalsReader
from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo.asks import FitListeners
from echoplaned.gates.echo.collector import BehaviourCollector
from echoplaned.gates.echo.evidence import BehaviourObservation
from echoplaned.gates.echo.live import CALIBRATION_WANTED
from echoplaned.gates.echo.subject import subject_of
from echoplaned.gates.gate import Observation
from echoplaned.ports.traces import TraceFlag
from tests.gates.echo.behaviour_world import (
    NEW,
    OLD,
    Store,
    Talk,
    Telemetry,
    World,
    context_of,
    measured,
    model_of,
    rollout_of,
    trace,
)


async def test_every_text_is_scored_once_by_both_versions() -> None:
    """Equal versions pass after all texts; each is scored once by an engine of each version."""
    talk = Talk()
    said = await World(talk, rollout_of()).decided()
    assert said.verdict is GateVerdict.PASS
    assert said.reason.startswith("ECHO_WITHIN_MARGIN")
    assert sorted(talk.scored) == sorted((key, f"{key.version}:1", n) for key in (OLD, NEW) for n in range(40))


async def test_a_version_that_answers_otherwise_fails() -> None:
    """A version whose log-probabilities are lower by half a nat fails, and the verdict says by how much."""
    said = await World(Talk(0.5), rollout_of()).decided()
    assert said.verdict is GateVerdict.FAIL
    assert said.behaviour is not None
    assert said.behaviour.measure == "LOG_PROBABILITY"
    assert said.behaviour.moved[0].distance == 0.5


@pytest.mark.parametrize(("apart", "verdict"), [(0.05, GateVerdict.PASS), (0.35, GateVerdict.FAIL)])
async def test_the_margin_is_three_times_what_int8_does_to_the_old_version(apart: float, verdict: GateVerdict) -> None:
    """It is measured before a text is compared, decides, is told of as measured, and is kept with the version."""
    world = World(Talk(apart, rounding=0.1), rollout_of())
    said = await world.decided()
    assert said.verdict is verdict
    assert said.behaviour is not None
    assert said.behaviour.margin == pytest.approx(0.3)
    assert said.behaviour.margin_source.startswith("measured: 3 x 0.1,")
    kept = world.state.models["m"].versions["v1"].int8_baseline
    assert kept == Int8Baseline("LOG_PROBABILITY", cast(Any, pytest.approx(0.1)), 16)
    assert world.state.models["m"].versions["v2"].int8_baseline is None


async def test_what_was_measured_once_is_not_measured_again() -> None:
    """A later rollout takes the version's own figure; no text is scored in INT8 for it."""
    world = World(Talk(0.05), rollout_of())
    event = Int8BaselineMeasured(1.0, OLD, Int8Baseline("LOG_PROBABILITY", 0.2, 16))
    world.state = measured(world.state, event)
    said = await world.decided()
    assert said.behaviour is not None
    assert said.behaviour.margin == pytest.approx(0.6)


async def test_a_version_without_an_int8_self_is_judged_by_the_default() -> None:
    """The rollout goes on, and the report says that the margin is a default and why."""
    said = await World(Talk(), rollout_of()).decided()
    assert said.verdict is GateVerdict.PASS
    assert said.behaviour is not None
    told = "the default of max_kl_nats; not measured: INVALID_ARGUMENT: it is in INT8 already"
    assert said.behaviour.margin_source.startswith(told)


async def test_a_margin_in_the_policy_is_not_measured() -> None:
    """Whoever sets a margin gets it, though the version could be measured."""
    said = await World(Talk(rounding=0.1), rollout_of(echo_policy=EchoPolicy(max_kl_nats=0.5))).decided()
    assert said.behaviour is not None
    assert said.behaviour.margin_source.startswith("the policy's max_kl_nats")


async def test_a_judge_that_starts_again_knows_what_the_last_one_knew() -> None:
    """Another runner on the same store has the same result from its first verdict on, and no text is scored again."""
    kept, talk = Store(), Talk(0.01)
    before = await World(talk, rollout_of(), kept).decided()
    scored = len(talk.scored)
    assert scored == 80
    world = World(talk, replace(rollout_of(), evidence_window=4), kept)
    after = await world.decided()
    assert len(talk.scored) == scored
    assert (after.verdict, after.reason, after.behaviour) == (before.verdict, before.reason, before.behaviour)
    world.runner.evaluate(EvaluateGates(world.rollout), world.state)
    world.runner.end(world.rollout.rollout_id)
    await world.runner.aclose()
    assert kept.found == {}


async def test_an_extended_stage_scores_again_after_a_restart() -> None:
    """A version that has changed since its texts were scored shows where the stage asks for it; the newer scores count."""
    kept = Store()
    await World(Talk(), rollout_of(), kept).decided()
    rollout = rollout_of()
    stage = rollout.policy.stages_percent.index(rollout.policy.extended_stages_percent[0]) + 1
    talk = Talk(0.5)
    said = await World(talk, replace(rollout, stage=stage, evidence_window=9), kept).decided()
    assert talk.scored
    assert said.verdict is GateVerdict.FAIL


async def test_evidence_that_is_damaged_begins_anew() -> None:
    """What cannot be read is said in the log and scored again; it stops nobody."""
    kept, talk = Store(), Talk()
    kept.found["r1"] = b"PK no evidence"
    said = await World(talk, rollout_of(), kept).decided()
    assert said.verdict is GateVerdict.PASS
    assert len(talk.scored) == 80


async def test_nothing_is_said_before_it_is_kept() -> None:
    """While evidence cannot be written no verdict is told; once it can, the verdict comes."""
    kept = Store(full=True)
    world = World(Talk(0.5), rollout_of(), kept)
    world.runner.evaluate(EvaluateGates(world.rollout), world.state)
    async with asyncio.timeout(10):
        while kept.asked < 5:
            await asyncio.sleep(0.005)
    assert world.told == []
    kept.full = False
    assert (await world.decided()).verdict is GateVerdict.FAIL
    assert "r1" in kept.found


async def test_a_version_that_scores_nothing_does_not_block() -> None:
    """Where the new version refuses to score, the gate passes with confidence 0 and its words."""
    said = await World(Talk(ok=False), rollout_of()).decided()
    assert (said.verdict, said.confidence) == (GateVerdict.PASS, 0.0)
    assert "UNIMPLEMENTED" in said.reason


def listening(telemetry: Telemetry, rollout: Rollout) -> tuple[BehaviourCollector, echo.EchoEvidence]:
    """Return what collects telemetry alone, and the evidence at the begin."""
    reader = TotalsReader({}, NEW, OLD, frozenset())
    subject = subject_of(model_of(rollout), rollout, None, has_traces=True)
    assert subject is not None
    return BehaviourCollector(None, telemetry, reader, context_of(rollout)), echo.begin(subject)


def read(collector: BehaviourCollector, *, acknowledged: bool) -> BehaviourObservation:
    """Return what came since the last reading."""
    seen = collector.add_to(Observation(1.0, weight=0.05 if acknowledged else None)).part(BehaviourObservation)
    assert seen is not None
    return seen


def test_live_requests_come_in_the_order_of_their_end() -> None:
    """Traces of both versions are merged by time; damaged ones have no sequence."""
    telemetry = Telemetry()
    collector, _ = listening(telemetry, rollout_of())
    telemetry.waiting[NEW] = [trace(NEW, 2.0), trace(NEW, 4.0, flags=TraceFlag.NOT_FINITE)]
    telemetry.waiting[OLD] = [trace(OLD, 1.0), trace(OLD, 2.5)]
    seen = read(collector, acknowledged=True)
    assert [(r.is_new, r.sequence is not None) for r in seen.requests] == [
        (False, True),
        (True, True),
        (False, True),
        (True, False),
    ]
    assert not seen.lost


@pytest.mark.parametrize("flag", [TraceFlag.CANCELLED, TraceFlag.FAILED])
def test_an_answer_that_was_cut_off_is_no_answer(flag: TraceFlag) -> None:
    """What a caller's deadline or a failure left of it says how fast a version is, or how sound, not how it behaves."""
    telemetry = Telemetry()
    collector, _ = listening(telemetry, rollout_of())
    telemetry.waiting[NEW] = [trace(NEW, 2.0, flags=flag)]
    assert [request.sequence for request in read(collector, acknowledged=True).requests] == [None]


def test_before_everybody_has_the_weights_only_old_requests_calibrate() -> None:
    """Under weights that are not acknowledged nothing is paired."""
    telemetry = Telemetry()
    collector, _ = listening(telemetry, rollout_of())
    telemetry.waiting[NEW] = [trace(NEW, 2.0)]
    telemetry.waiting[OLD] = [trace(OLD, 1.0)]
    seen = read(collector, acknowledged=False)
    assert (seen.requests, [r.is_new for r in seen.calibration]) == ((), [False])


def test_dropped_telemetry_is_reported() -> None:
    """When traces were dropped the interval says so, once."""
    telemetry = Telemetry()
    collector, _ = listening(telemetry, rollout_of())
    telemetry.dropped = 3
    assert read(collector, acknowledged=True).lost
    assert not read(collector, acknowledged=True).lost


async def test_the_listeners_are_fitted_beside_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once enough requests of the old version were gathered, what was fitted on them comes with the next reading, once."""
    monkeypatch.setattr("echoplaned.gates.echo.collector.RETRY_S", 0.005)
    telemetry, rng = Telemetry(), np.random.default_rng(8)
    collector, evidence = listening(telemetry, rollout_of())
    fitting = asyncio.create_task(collector.jobs()["listeners"]())
    drawn = (rng.standard_normal(3).astype(np.float32) for _ in range(CALIBRATION_WANTED))
    telemetry.waiting[OLD] = [replace(trace(OLD, float(n)), log_probabilities=each) for n, each in enumerate(drawn)]
    evidence = echo.observe(evidence, read(collector, acknowledged=False))
    assert evidence.live.to_fit
    collector.take((FitListeners(evidence.live.to_fit, evidence.subject.network),))
    async with asyncio.timeout(10):
        while evidence.live.model is None:
            await asyncio.sleep(0.005)
            evidence = echo.observe(evidence, read(collector, acknowledged=False))
    fitting.cancel()
    assert evidence.live.model.predictors is not None
    assert evidence.live.model.predictors.reservoir.units == 512
    assert read(collector, acknowledged=False).fit_result is None


def test_the_old_versions_reservoir_listens() -> None:
    """What its load asked for is what the gate's network has."""
    rollout = rollout_of()
    planned = Reservoir("medium", 6, 128, (1, 2), (2.8, 4.7), 1, 1, 0.7, 0.5, 0.2, seed=9, block_density=0.5)
    model = model_of(rollout)
    old = model.versions["v1"]
    versions = {**model.versions, "v1": replace(old, plan=replace(old.plan, reservoir=planned))}
    subject = subject_of(replace(model, versions=MappingProxyType(versions)), rollout, 40, has_traces=False)
    assert subject is not None
    drawn = subject.network.reservoir()
    assert (drawn.tree, drawn.inputs, drawn.settings.block_density) == ((1, 2), 2, 0.5)
    assert (drawn.settings.spectral_radius, drawn.settings.leak, drawn.settings.input_scale) == (0.7, 0.5, 0.2)
    assert drawn.settings.seed == 9


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (("llama_cpp", ""), ("llama_cpp", ""), ""),
        (("llama_cpp", "chatml"), ("llama_cpp-new", "chatml"), ""),
        (("torch", ""), ("llama_cpp", "chatml"), ""),
        (("llama_cpp", ""), ("llama_cpp-new", "llama2"), "by llama2 and were by the checkpoint's own template"),
        (("llama_cpp", "llama2"), ("llama_cpp", ""), "by the checkpoint's own template and were by llama2"),
    ],
)
def test_another_template_is_told_by_the_requests_of_both_versions(
    was: tuple[str, str], now: tuple[str, str], told: str
) -> None:
    """An option of one kind of engine that is set otherwise; what kinds call their templates is not compared."""
    rollout = rollout_of()
    model = model_of(rollout)
    versions = dict(model.versions)
    for name, (engine, template) in zip(("v1", "v2"), (was, now), strict=True):
        options = (("chat_template", template),) if template else ()
        spec = versions[name].spec
        spec = replace(spec, shape=replace(spec.shape, engine=engine, options=options))
        versions[name] = replace(versions[name], spec=spec)
    subject = subject_of(replace(model, versions=MappingProxyType(versions)), rollout, 40, has_traces=False)
    assert subject is not None
    assert told in subject.rendering
    assert bool(subject.rendering) is bool(told)


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ((64, 0), (64, 0), ""),
        ((64, 0), (65, 0), ""),
        ((256, 0), (64, 0), "its context is 64 tokens and was 256, so that longer requests fail"),
        ((0, 4096), (2048, 0), "its context is 2048 tokens and was 4096, so that longer requests fail"),
        ((0, 4096), (0, 4096), ""),
    ],
)
def test_a_shorter_context_is_told(was: tuple[int, int], now: tuple[int, int], told: str) -> None:
    """Of what was asked for, or chosen where nobody asked; a longer one takes what the old one took."""
    rollout = rollout_of()
    model = model_of(rollout)
    versions = dict(model.versions)
    for name, (asked, chosen) in zip(("v1", "v2"), (was, now), strict=True):
        spec = versions[name].spec
        spec = replace(spec, shape=replace(spec.shape, context_length=asked))
        versions[name] = replace(versions[name], spec=spec, context_length=chosen)
    subject = subject_of(replace(model, versions=MappingProxyType(versions)), rollout, 40, has_traces=False)
    assert subject is not None
    assert subject.shortening == told


def test_nobody_is_judged_where_the_policy_or_the_sources_say_so() -> None:
    """The gate is silent where it is switched off, and where neither texts nor telemetry can be had."""
    off = rollout_of(echo_policy=EchoPolicy(enabled=False))
    assert subject_of(model_of(off), off, 40, has_traces=False) is None
    on = rollout_of()
    assert subject_of(model_of(on), on, None, has_traces=False) is None
