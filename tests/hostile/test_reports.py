"""Clients that report what never happened, or refuse their routes with nothing to lose: they decide no rollout."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.errors import RolledBackError
from echoplane.inference import grpc_service_pb2, grpc_service_pb2_grpc
from tests.e2e import e2e_subscriber as s
from tests.e2e import e2e_system as e
from tests.hostile.hostile_reporter import LoadReporter

TWO_STAGES = (50, 100)


@pytest.fixture(scope="module")
def serving(system: e.System) -> Iterator[e.System]:
    """The shared daemon, with a model that serves v1."""
    system.load("lied")
    yield system
    system.delete("lied")


def serving_version(system: e.System) -> str:
    """Return the version that has the model's traffic."""
    return system.client.get_model("lied").serving_version


def two_clusters_are_too_many(_subscriber: s.Subscriber, response: Any) -> str:
    """Refuse whatever a rollout changes."""
    return "two clusters are too many for me" if len(s.clusters_of(response)) > 1 else ""


def test_a_process_that_never_called_reports_errors(serving: e.System) -> None:
    """Three ids report ten made-up errors a second of the new version: alarmed, left out, and the update comes through."""
    with ExitStack() as stack:
        liars = [stack.enter_context(LoadReporter(serving.daemon.address, f"liar-{n}")) for n in range(3)]
        policy = e.fast_policy(stages_percent=TWO_STAGES, stage_min_s=6.0)
        operation = serving.update("lied", "v2", "better", policy)
        alarms: list[str] = []
        done = threading.Event()

        def lie() -> None:
            while not done.wait(1.0):
                for liar in liars:
                    liar.say("models/lied/versions/v2", errors=3)
                alarms.extend(serving.client.get_status().alarms)

        liar_thread = threading.Thread(target=lie)
        liar_thread.start()
        try:
            serving.finish(operation)
        finally:
            done.set()
            liar_thread.join()
    rollout = serving.rollout("lied")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
    assert any(alarm.startswith("models/lied: load reports are left out of its rollout") for alarm in alarms), alarms
    assert serving_version(serving) == "models/lied/versions/v2"


def test_a_refusal_of_an_idle_one_where_all_are_idle(serving: e.System) -> None:
    """A stranger takes the routes and refuses the next: the rollout waits, says for whom, and its stage's time ends it."""
    before = serving_version(serving)
    with s.Subscriber(serving.daemon.address, "idle-1", "lied", two_clusters_are_too_many) as idle:
        e.eventually(lambda: idle.accepted.get("ENDPOINT"), e.LOAD_S, "the first routes to be accepted")
        policy = e.fast_policy(stages_percent=TWO_STAGES, stage_max_s=8.0)
        operation = serving.update("lied", "v3", "encoder", policy)
        refused = "REFUSED_BY_IDLE: idle-1 refused the routes"
        e.eventually(
            lambda: serving.rollout("lied").held_reason.startswith(refused), e.LOAD_S, "the rollout to be held"
        )
        assert any("idle-1" in alarm for alarm in serving.client.get_status().alarms)
        with pytest.raises(RolledBackError) as caught:
            serving.finish(operation)
        assert "could not be decided in time (REFUSED_BY_IDLE" in caught.value.failure.message
    assert serving_version(serving) == before


def test_a_refusal_of_an_idle_one_beside_busy_ones(serving: e.System, start_load: e.MakeLoad) -> None:
    """A stranger refuses the routes of a model that others call: it is named, alarmed and left out, and the update comes through."""
    start_load(serving, "lied", processes=1, rate=30.0, long_share=0.0)
    with s.Subscriber(serving.daemon.address, "idle-2", "lied", two_clusters_are_too_many) as idle:
        e.eventually(lambda: idle.accepted.get("ENDPOINT"), e.LOAD_S, "the first routes to be accepted")
        operation = serving.update("lied", "v4", "better", e.fast_policy(stages_percent=TWO_STAGES))
        told = e.eventually(
            lambda: [a for a in serving.client.get_status().alarms if "idle-2" in a and "left out" in a],
            e.LOAD_S,
            "the stranger to be left out",
        )
        assert "has no confirmed requests" in told[0]
        serving.finish(operation)
    assert serving.rollout("lied").outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED


@pytest.fixture
def heard(system: e.System) -> Iterator[e.System]:
    """The shared daemon, with a model of which nobody has reported what is not true."""
    system.load("heard")
    yield system
    system.delete("heard")


def test_a_refusal_of_a_busy_one(heard: e.System) -> None:
    """A client with requests that the workers saw takes the update back, as ever; the reason names it."""
    before = heard.client.get_model("heard").serving_version
    instance = heard.client.get_version(before).instances[0]
    with (
        s.Subscriber(heard.daemon.address, "busy-1", "heard", two_clusters_are_too_many) as busy,
        ExitStack() as stack,
    ):
        e.eventually(lambda: busy.accepted.get("ENDPOINT"), e.LOAD_S, "the first routes to be accepted")
        reporter = stack.enter_context(LoadReporter("", "busy-1", busy.channel))
        call_and_report(instance.address, before, reporter, 40)
        e.pause(12.0)  # what is reported counts once the counters had time to contradict it
        operation = heard.update("heard", "v2", "better", e.fast_policy(stages_percent=TWO_STAGES))
        with pytest.raises(RolledBackError):
            heard.finish(operation)
    rollout = heard.rollout("heard")
    assert rollout.outcome_reason.startswith("subscriber busy-1 refused the routes: two clusters are too many for me")
    assert heard.client.get_model("heard").serving_version == before


def call_and_report(address: str, version: str, reporter: LoadReporter, count: int) -> None:
    """Send real requests to an instance, and report them as a gRPC client does."""
    request = grpc_service_pb2.ModelInferRequest(model_name="heard")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"true")
    with grpc.insecure_channel(address, DIRECT_OPTIONS) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(count):
            stub.ModelInfer(request, timeout=20.0)
    e.pause(1.0)
    reporter.say(version, ok=count)
