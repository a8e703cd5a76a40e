"""Subscribers that do not answer or say no, and an engine that nobody can reach: who may stop a rollout, and who may not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from echoplane.errors import RolledBackError
from echoplane.v1 import rollouts_pb2
from tests.e2e import e2e_sockets
from tests.e2e import e2e_subscriber as s
from tests.e2e import e2e_system as e

TWO_STAGES = (50, 100)


@pytest.fixture(scope="module")
def serving(system: e.System) -> Iterator[e.System]:
    """The shared daemon, with the models ``sub`` and ``other`` in version v1."""
    system.load("sub")
    system.load("other")
    yield system
    system.delete("sub")
    system.delete("other")


def serving_version(system: e.System) -> str:
    """Return the version that has the model's traffic."""
    return system.client.get_model("sub").serving_version.rpartition("/")[2]


def test_a_subscriber_that_never_acknowledges(serving: e.System) -> None:
    """It is called stale after ack_timeout_s and named; the rollout waits for it once, goes on without it, and ends."""
    policy = e.fast_policy(stages_percent=TWO_STAGES)
    with s.Subscriber(serving.daemon.address, "silent-1", "sub", s.ignore) as silent:
        e.eventually(lambda: silent.received.get("LISTENER"), 10.0, "the first response")
        operation = serving.update("sub", "v2", "better", policy)
        e.eventually(lambda: "silent-1" in serving.rollout("sub").stale_subscribers, 60.0, "it to be named")
        named = serving.rollout("sub")
        assert named.subscriber_count == 1
        assert not named.outcome
        serving.finish(operation)
        assert not silent.ended, "a silent stream is no reason to end it"
    rollout = serving.rollout("sub")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
    assert serving_version(serving) == "v2"
    verdicts = [event.verdict for event in rollout.history if event.HasField("verdict")]
    assert verdicts
    assert all(v.counts.new_request_count == 0 for v in verdicts), "the daemon's own probes were taken for traffic"


def test_a_refusal_of_another_models_resource(serving: e.System) -> None:
    """A client that cannot read the routes of ``other`` is counted, and does not take back an update of ``sub``."""
    before = serving.client.get_status().xds.nack_count
    policy = e.fast_policy(stages_percent=TWO_STAGES)
    with (
        s.Subscriber(serving.daemon.address, "broken-1", "other", lambda *_: "cannot read this") as broken,
        s.Subscriber(serving.daemon.address, "good-1", "sub") as good,
    ):
        operation = serving.update("sub", "v3", "encoder", policy)
        serving.finish(operation)
        assert broken.refused
        assert not broken.ended
        assert good.accepted["ROUTE"] >= len(TWO_STAGES)
        assert not good.refused
    assert serving.client.get_status().xds.nack_count > before
    assert '"node": "broken-1"' in serving.daemon.log_path.read_text()
    assert serving.rollout("sub").outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
    assert serving_version(serving) == "v3"


def test_a_refusal_of_what_the_rollout_changed(serving: e.System) -> None:
    """A client that took the routes before and refuses the new ones, where nobody has traffic: the stage's time is over, and it is named.

    One with traffic is heeded at once (``tests/hostile/test_reports.py``).
    """
    old = serving_version(serving)

    def answer(_subscriber: s.Subscriber, response: Any) -> str:
        named = s.clusters_of(response)
        return "two clusters are too many for me" if len(named) > 1 else ""

    with s.Subscriber(serving.daemon.address, "strict-1", "sub", answer) as strict:
        e.eventually(lambda: strict.accepted.get("ENDPOINT"), 10.0, "the first routes to be accepted")
        policy = e.fast_policy(stages_percent=TWO_STAGES, stage_max_s=8.0)
        operation = serving.update("sub", "v4", "better", policy)
        with pytest.raises(RolledBackError) as caught:
            serving.finish(operation)
        assert strict.refused["ROUTE"] >= 1
    rollout = serving.rollout("sub")
    assert caught.value.failure.resource == rollout.name
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_ROLLED_BACK
    assert "strict-1" in rollout.outcome_reason
    assert "too many for me" in rollout.outcome_reason
    assert serving_version(serving) == old


def new_instance(system: e.System, version: str) -> tuple[int, int]:
    """Wait until an update's first stage is observed; return its engine's pid and port."""
    e.wait_phase(system, "sub", e.Phase.ROLLOUT_PHASE_OBSERVING, 1)
    instance = system.client.get_version(f"sub/{version}").instances[0]
    return instance.pid, int(instance.address.rpartition(":")[2])


def taken_back(system: e.System) -> rollouts_pb2.Rollout:
    """Wait for the rollback, and check that the old version has the traffic and no engine is left over."""
    e.eventually(lambda: system.rollout("sub").outcome, 90.0, "the rollback")
    rollout = system.rollout("sub")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_ROLLED_BACK, rollout.outcome_reason
    assert rollout.outcome_reason
    return rollout


def test_an_engine_that_refuses_connections(serving: e.System, start_load: e.MakeLoad) -> None:
    """At 5 % the new version's port closes; no load report tells of it, but requests that do not arrive do: it is rolled back."""
    old = serving_version(serving)
    load = start_load(serving, "sub", processes=2, rate=60.0, long_share=0.0)
    serving.update("sub", "v5", "better", e.fast_policy(stage_min_s=60.0))
    pid, port = new_instance(serving, "v5")
    assert serving.daemon.process is not None
    e2e_sockets.refuse_connections(pid, port, {serving.daemon.process.pid})
    rollout = taken_back(serving)
    print(f"refused connections: rolled back at stage {rollout.stage}: {rollout.outcome_reason}")  # noqa: T201 - a figure
    assert rollout.stage == 1
    assert serving_version(serving) == old
    e.pause(1.0)
    assert {sample.version for sample in load.samples() if sample.ok} <= {old, "v5"}
    assert all(sample.ok for sample in load.samples()[-20:])


def test_an_engine_that_stands_still(serving: e.System, start_load: e.MakeLoad) -> None:
    """At 5 % the new version's process is stopped by SIGSTOP; it is rolled back, and the process is ended all the same."""
    old = serving_version(serving)
    load = start_load(serving, "sub", processes=2, rate=60.0, long_share=0.0)
    serving.update("sub", "v6", "better", e.fast_policy(stage_min_s=60.0))
    pid, _ = new_instance(serving, "v6")
    os.kill(pid, signal.SIGSTOP)
    rollout = taken_back(serving)
    print(f"stood still: rolled back at stage {rollout.stage}: {rollout.outcome_reason}")  # noqa: T201 - a figure
    assert rollout.stage == 1
    assert serving_version(serving) == old
    e.eventually(lambda: pid not in {process.pid for process in serving.daemon.engines()}, 30.0, "the process to end")
    e.pause(1.0)
    assert all(sample.version in {"v6", ""} for sample in e.failures(load.samples()))
    assert all(sample.ok for sample in load.samples()[-20:])
