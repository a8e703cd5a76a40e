"""The echo gate on the real daemon: a version that answers quickly, without errors and otherwise is heard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from echoplane import RolledBackError
from echoplane.v1 import rollouts_pb2, types_pb2
from echoplaned.testing.loadgen import LoadProcesses
from tests.e2e import e2e_system as e

EQUIVALENT = types_pb2.BEHAVIOUR_CHANGE_EQUIVALENT
INTENDED = types_pb2.BEHAVIOUR_CHANGE_INTENDED
MODEL = "talk"
POLICY = e.fast_policy(stages_percent=[5, 100], stage_max_s=60.0)
"""Fewer stages than usual, as live requests are waited for in each, and so short that the first one is left to probes."""

REQUESTS_PER_S = 5.0
TEXTS = 48


def heard(rollout: rollouts_pb2.Rollout) -> rollouts_pb2.Verdict:
    """Return the echo gate's verdict that decided, or its latest one."""
    told = [event.verdict for event in rollout.history if event.verdict.gate == "echo"]
    now = [verdict for verdict in rollout.verdicts if verdict.gate == "echo"]
    return (now or told)[-1]


def taken_back(system: e.System, version: str, source: str) -> str:
    """Update to a version declared EQUIVALENT, see it rolled back by the echo gate, and return the figures."""
    began = time.monotonic()
    with pytest.raises(RolledBackError, match="gate echo: ECHO_DIFFERS"):
        system.finish(system.update(MODEL, version, source, POLICY, behaviour_change=EQUIVALENT), 240.0)
    took_s = time.monotonic() - began
    rollout = system.rollout(MODEL)
    verdict = heard(rollout)
    report = verdict.behaviour
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_ROLLED_BACK
    assert report.lower > report.margin > 0.0
    assert 1 <= report.text_count <= TEXTS
    assert len(report.moved) == min(3, report.text_count)
    assert report.moved[0].text
    first = next(x.time.ToMilliseconds() for x in rollout.history if x.phase == e.Phase.ROLLOUT_PHASE_OBSERVING)
    back = next(x.time.ToMilliseconds() for x in rollout.history if x.phase == e.Phase.ROLLOUT_PHASE_REVERTING)
    explained = system.client.explain(rollout.name).behaviour
    assert explained.mean == report.mean
    return (
        f"{source}: KL {report.mean:.3g} nats a token [{report.lower:.3g}, {report.upper:.3g}], back {(back - first) / 1000:.1f} s"
        f" after the first stage began ({took_s:.1f} s with the load), {report.text_count} texts on each version"
    )


def killed_while_it_holds(system: e.System) -> str:
    """Kill the daemon, start it again, and see that its first verdict knows what the last one knew, without scoring a text again."""

    def all_scored() -> rollouts_pb2.Verdict | None:
        verdict = heard(system.rollout(MODEL))
        return verdict if verdict.behaviour.text_count == TEXTS else None

    before = e.eventually(all_scored, 60.0, "a verdict on all texts")
    system.daemon.kill()
    system.daemon.start()

    def judged_anew() -> rollouts_pb2.Verdict | None:
        now = (verdict for verdict in system.rollout(MODEL).verdicts if verdict.gate == "echo")
        return next((verdict for verdict in now if verdict.window > before.window), None)

    after = e.eventually(judged_anew, 60.0, "a verdict after the restart", poll_s=0.01)
    assert "ECHO_CHANGE_UNDECLARED" in after.reason
    assert after.behaviour.live_pair_count >= before.behaviour.live_pair_count
    for name in ("text_count", "distance_count", "mean", "lower", "upper", "paired_log_e_value", "margin"):
        assert getattr(after.behaviour, name) == getattr(before.behaviour, name), name
    return f"killed while it held: {after.behaviour.text_count} texts and ln e {after.behaviour.log_e_value:.3g} before and after"


@dataclass(frozen=True, slots=True)
class Talk:
    """A daemon of these tests' own with a model that requests reach all the time."""

    system: e.System
    load: LoadProcesses

    def nobody_failed(self) -> None:
        """See that every live request so far was answered well."""
        assert e.failures(self.load.samples()) == []


@pytest.fixture(scope="module")
def talk(start_system: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """The model under traffic; each test updates it, the last ones for good."""
    with ExitStack() as stack:
        system = start_system(stack, ())
        system.load(MODEL, source="speaking")
        traffic = e.Traffic(1, REQUESTS_PER_S, long_share=0.0, max_tokens=4)
        yield Talk(system, e.begin_load(stack, tmp_path_factory.mktemp("talk"), system, MODEL, traffic))


@pytest.mark.parametrize("source", ["swapped", "louder"])
def test_an_equivalent_version_that_differs_is_rolled_back(
    talk: Talk, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two layers swapped, one layer louder: neither fails a request, both answer otherwise."""
    said = taken_back(talk.system, source, source)
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201 - the figures of the gate
    talk.nobody_failed()


def test_a_shorter_context_is_not_equivalent(talk: Talk) -> None:
    """By one token, which no caller needs: nobody fails, nothing differs, and it is taken back for what both requests say."""
    system = talk.system
    served = system.client.get_version(f"{MODEL}/v1").context_length
    update = system.update(MODEL, "short", "speaking", POLICY, context_length=served - 1, behaviour_change=EQUIVALENT)
    with pytest.raises(RolledBackError, match=f"its context is {served - 1} tokens and was {served}"):
        system.finish(update, 240.0)
    talk.nobody_failed()


def test_an_undeclared_change_holds_and_asks(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    """It does so across a crash of the daemon, which then knows what it knew before."""
    system = talk.system
    operation = system.update(MODEL, "undeclared", "swapped", POLICY)
    rollout = e.eventually(
        lambda: next((r for r in (system.rollout(MODEL),) if "ECHO_CHANGE_UNDECLARED" in r.held_reason), None),
        e.LOAD_S,
        "a rollout that holds and asks",
    )
    assert "EQUIVALENT or INTENDED" in rollout.held_reason
    assert rollout.stage == 1
    said = killed_while_it_holds(system)
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201 - as above
    system.client.abort_rollout(rollout.name, "the answer to its question")
    with pytest.raises(RolledBackError):
        system.finish(operation, 120.0)
    talk.nobody_failed()


def test_int8_is_equivalent(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    """The margin is measured, and INT8 is within it."""
    system = talk.system
    update = system.update(MODEL, "int8", "speaking", POLICY, dtype=types_pb2.DTYPE_INT8, behaviour_change=EQUIVALENT)
    system.finish(update, 240.0)
    behaviour = system.client.explain(system.rollout(MODEL).name).behaviour
    assert 0.0 < behaviour.mean < behaviour.upper < behaviour.margin
    assert behaviour.margin_source.startswith("measured: 3 x ")
    said = f"int8: KL {behaviour.mean:.3g} nats a token, at most {behaviour.upper:.3g}, margin {behaviour.margin:.3g}: passed"
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201 - as above
    talk.nobody_failed()
    assert {"v1", "int8"} <= {sample.version for sample in talk.load.samples()}


def test_an_intended_change_passes_with_its_report(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    """The report says how large it is; the new version serves."""
    system = talk.system
    system.finish(system.update(MODEL, "tuned", "swapped", POLICY, behaviour_change=INTENDED), 240.0)
    behaviour = system.client.explain(system.rollout(MODEL).name).behaviour
    assert behaviour.lower > behaviour.margin
    e.pause(1.0)
    with capsys.disabled():
        print(f"\ndeclared INTENDED: KL {behaviour.mean:.3g} nats a token: passed with its report")  # noqa: T201 - as above
    talk.nobody_failed()
    assert "tuned" in {sample.version for sample in talk.load.samples()}
