"""The daemon's end of scoring and of telemetry, with real workers."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import EngineReady, ProbesPassed
from echoplaned.core.facts import Task
from echoplaned.core.ids import VersionKey
from echoplaned.engines.scoring import OipScorer
from echoplaned.engines.scoring_texts import SCORING_TEXTS
from echoplaned.engines.sinks import Tracing
from echoplaned.ports.traces import RequestTrace, TraceKind
from tests.engines.engine_bench import KEY, facts, open_bench, probe, start, until
from tests.models import Checkpoints

GENERATES = facts(Task.GENERATION)


def test_there_are_many_texts() -> None:
    """At least 48, no two the same."""
    assert len(set(SCORING_TEXTS)) == len(SCORING_TEXTS) >= 48


class Taken(list[RequestTrace]):
    """Keeps every trace that an engine sends, a probe's among them, which the daemon's own store counts and drops."""

    def take(self, version: VersionKey, process: str, traces: tuple[RequestTrace, ...], dropped: int) -> None:
        """Keep a batch."""
        assert version == KEY.version
        assert process
        assert not dropped
        self.extend(traces)

    def on_ended(self, version: VersionKey, process: str) -> None:
        """The engine has gone; its traces stay."""


@pytest.mark.system
async def test_a_decoder_is_scored_and_traced(state_dir: Path, checkpoints: Checkpoints) -> None:
    """Every text has finite distributions that hold its tokens; probes leave traces with tokens, scoring leaves none."""
    found = Taken()
    async with open_bench(state_dir, tracing=Tracing(found, 1.0, time.time)) as bench:
        scorer = OipScorer(bench.engine.control_key_at)
        bench.engine.start(replace(start(checkpoints.decoder), facts=GENERATES))
        ready = await bench.wait_for(EngineReady)
        for index in range(scorer.text_count):
            outcome = await scorer.score(KEY.version, GENERATES, oip_target(ready.endpoints), index)
            assert outcome.ok, outcome.detail
            assert outcome.token_ids is not None
            assert outcome.log_probabilities is not None
            assert outcome.distributions is not None
            places = range(len(outcome.token_ids))
            assert (outcome.distributions[places, outcome.token_ids] == outcome.log_probabilities).all()
            assert np.exp(outcome.distributions).sum(axis=1) == pytest.approx(np.ones(len(places)), abs=1e-3)
        assert not found
        bench.engine.probe(replace(probe(ready), facts=GENERATES))
        await bench.wait_for(ProbesPassed)
        await until(lambda: len(found) >= 16)
    assert all(trace.sound and trace.probe and trace.kind is TraceKind.TOKENS for trace in found)
    assert {len(trace.entropies) for trace in found} <= {1, 2, 3, 4}
    await scorer.close()


@pytest.mark.system
async def test_an_encoder_just_answers(state_dir: Path, checkpoints: Checkpoints) -> None:
    """A text gives its vector, cut to the context; its trace has features; an engine that is not there is an outcome."""
    found = Taken()
    async with open_bench(state_dir, tracing=Tracing(found, 1.0, time.time)) as bench:
        scorer = OipScorer(bench.engine.control_key_at)
        bench.engine.start(start(checkpoints.encoder))
        ready = await bench.wait_for(EngineReady)
        outcome = await scorer.score(KEY.version, facts(), oip_target(ready.endpoints), 0)
        assert outcome.vector is not None
        assert outcome.vector.shape == (128,)
        await until(lambda: len(found) == 1)
    assert (found[0].kind, found[0].features.shape, found[0].probe) == (TraceKind.VECTOR, (20,), True)
    gone = await scorer.score(KEY.version, facts(), "127.0.0.1:1", 3)
    assert not gone.ok
    assert "UNAVAILABLE" in gone.detail
    await scorer.close()
