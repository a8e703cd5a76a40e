"""RolloutService: looking at rollouts, following them, steering them."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2

from echoplane.v1 import models_pb2, rollouts_pb2, types_pb2
from echoplaned.core.commands import PauseRollout, Request, ResumeRollout
from echoplaned.core.failure import Reason
from echoplaned.core.rollout_state import GateVerdict

from .reading import metadata, rest_of
from .world import World, failed

CODE = grpc.StatusCode
QUICK = rollouts_pb2.RolloutPolicy(stages_percent=[50, 100], stage_min_s=0, soak_s=1)


async def begin(world: World) -> str:
    """Begin an update that waits in its first stage; return the rollout's name."""
    await world.load("fp32")
    return metadata(await world.update("int8", policy=QUICK)).rollout


async def test_view(world: World) -> None:
    """A rollout shows its versions, the whole policy, weights, verdicts with counts, and its history."""
    world.script.subscribers = 3
    name = await begin(world)
    world.handle.give_verdict("minilm", GateVerdict.HOLD, "too few requests")
    rollout = await world.stubs.rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))
    assert rollout.from_version == "models/minilm/versions/fp32"
    assert rollout.to_version == "models/minilm/versions/int8"
    assert (rollout.phase, rollout.stage) == (rollouts_pb2.ROLLOUT_PHASE_OBSERVING, 1)
    assert list(rollout.policy.stages_percent) == [50, 100]
    assert rollout.policy.alpha == 0.001
    assert rollout.policy.on_expire == rollouts_pb2.ON_EXPIRE_ROLL_BACK
    assert rollout.desired == rollout.acknowledged
    assert (rollout.subscriber_count, rollout.acknowledged_count) == (3, 3)
    assert rollout.held_reason == "too few requests"
    verdict = rollout.verdicts[0]
    assert (verdict.gate, verdict.verdict) == ("errors", rollouts_pb2.Verdict.OUTCOME_HOLD)
    assert verdict.counts.new_request_count == 100
    assert verdict.evidence == rollouts_pb2.Verdict.EVIDENCE_LIVE
    kinds = [event.kind for event in rollout.history]
    assert kinds[0] == "created"
    assert {"published", "acknowledged"} <= set(kinds)
    assert [event.sequence for event in rollout.history] == list(range(1, len(kinds) + 1))
    assert rollout.operation.startswith("operations/")
    assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_UNSPECIFIED


async def test_acknowledged_weights_lag(world: World) -> None:
    """While a stage's weights are not acknowledged, the ones before them are shown as acknowledged."""
    world.script.subscribers = 1
    name = await begin(world)
    world.script.acknowledge = False
    world.handle.give_verdict("minilm", GateVerdict.PASS)
    rollout = await world.stubs.rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))
    assert rollout.phase == rollouts_pb2.ROLLOUT_PHASE_SHIFTING
    assert [w.weight_ppm for w in rollout.desired] == [1, 999_999]
    assert [w.weight_ppm for w in rollout.acknowledged] == [500_000, 500_000]
    assert rollout.acknowledged_count == 0


async def test_watch_ends_with_the_outcome(world: World) -> None:
    """WatchRollout sends the rollout now and after each change, and ends when its outcome is known."""
    name = await begin(world)
    call = world.stubs.rollouts.WatchRollout(rollouts_pb2.WatchRolloutRequest(name=name))
    seen = [await call.read()]
    world.handle.give_verdict("minilm", GateVerdict.PASS)
    seen.append(await call.read())
    world.handle.give_verdict("minilm", GateVerdict.FAIL, "worse")
    seen += await rest_of(call)
    assert [r.stage for r in seen[:2]] == [1, 2]
    assert seen[-1].phase == rollouts_pb2.ROLLOUT_PHASE_DONE
    assert seen[-1].outcome == rollouts_pb2.ROLLOUT_OUTCOME_ROLLED_BACK
    assert seen[-1].outcome_reason == "gate errors: worse"
    assert seen[-1].history[-1].kind == "ended"
    assert await call.code() is CODE.OK


async def test_watch_of_a_deleted_model(world: World) -> None:
    """A watched rollout whose model is deleted ends DELETED."""
    name = await begin(world)
    call = world.stubs.rollouts.WatchRollout(rollouts_pb2.WatchRolloutRequest(name=name))
    await call.read()
    await world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm", force=True))
    last = (await rest_of(call))[-1]
    assert last.outcome == rollouts_pb2.ROLLOUT_OUTCOME_DELETED
    assert last.HasField("end_time")


async def test_watch_ends_when_the_daemon_stops(world: World) -> None:
    """A daemon that stops ends the stream with UNAVAILABLE and says to call again."""
    name = await begin(world)
    call = world.stubs.rollouts.WatchRollout(rollouts_pb2.WatchRolloutRequest(name=name))
    await call.read()
    world.lifecycle.begin_stop()
    with pytest.raises(grpc.aio.AioRpcError, match="the daemon stops"):
        await call.read()
    assert await call.code() is CODE.UNAVAILABLE
    assert ("WatchRollout", "UNAVAILABLE") in world.ended.seen


async def test_watch_that_the_caller_ends(world: World) -> None:
    """A caller that goes away gives its place among the watchers back."""
    name = await begin(world)
    call = world.stubs.rollouts.WatchRollout(rollouts_pb2.WatchRolloutRequest(name=name))
    await call.read()
    call.cancel()
    await world.ended.wait_for("WatchRollout", "CANCELLED")
    world.handle.give_verdict("minilm", GateVerdict.PASS)
    rollout = await world.stubs.rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))
    assert rollout.stage == 2


async def test_pause_and_resume(world: World) -> None:
    """A paused rollout does not go on; a failing verdict still rolls it back; pausing twice changes nothing."""
    name = await begin(world)
    rollouts = world.stubs.rollouts
    paused = await rollouts.PauseRollout(rollouts_pb2.PauseRolloutRequest(name=name))
    assert (paused.paused, paused.held_reason) == (True, "PAUSED")
    assert await rollouts.PauseRollout(rollouts_pb2.PauseRolloutRequest(name=name)) == paused
    world.handle.give_verdict("minilm", GateVerdict.PASS)
    assert (await rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))).stage == 1
    resumed = await rollouts.ResumeRollout(rollouts_pb2.ResumeRolloutRequest(name=name))
    assert not resumed.paused
    world.handle.give_verdict("minilm", GateVerdict.PASS)
    assert (await rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))).stage == 2


async def test_pause_and_resume_keep_their_reasons(world: World) -> None:
    """Why somebody paused a rollout, and let it go on, stands in its history, as the API says; unsaid, the line is the word alone."""
    name = await begin(world)
    rollouts = world.stubs.rollouts
    await rollouts.PauseRollout(rollouts_pb2.PauseRolloutRequest(name=name, reason="errors in the logs"))
    await rollouts.ResumeRollout(rollouts_pb2.ResumeRolloutRequest(name=name, reason="another team's"))
    await rollouts.PauseRollout(rollouts_pb2.PauseRolloutRequest(name=name))
    rollout = await rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))
    told = [(event.kind, event.text) for event in rollout.history if event.kind in {"paused", "resumed"}]
    assert told == [
        ("paused", "paused: errors in the logs"),
        ("resumed", "resumed: another team's"),
        ("paused", "paused"),
    ]


async def test_a_rollout_that_was_paused_often_can_still_be_read(world: World) -> None:
    """However often somebody pauses and resumes, an answer is one that a client takes: it has the newest lines, numbered as ever."""
    name = await begin(world)
    _, model, _, rollout_id = name.split("/")
    for turn in range(5000):
        at_s = world.handle.now_s()
        await world.handle.submit(PauseRollout(Request(at_s), model, rollout_id, f"{turn} {'x' * 490}"))
        await world.handle.submit(ResumeRollout(Request(at_s), model, rollout_id, "x" * 500))
    rollout = await world.stubs.rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name))
    assert len(rollout.history) == 1000
    assert rollout.history[-2].text.startswith("paused: 4999 ")
    last = rollout.history[-1].sequence
    assert [event.sequence for event in rollout.history] == list(range(last - 999, last + 1))


async def test_abort(world: World) -> None:
    """An abort rolls back with its reason; afterwards the rollout cannot be changed any more."""
    name = await begin(world)
    rollouts = world.stubs.rollouts
    ended = await rollouts.AbortRollout(rollouts_pb2.AbortRolloutRequest(name=name, reason="wrong checkpoint"))
    assert ended.outcome == rollouts_pb2.ROLLOUT_OUTCOME_ROLLED_BACK
    assert ended.outcome_reason == "aborted: wrong checkpoint"
    call = rollouts.PauseRollout(rollouts_pb2.PauseRolloutRequest(name=name))
    found = await failed(call, Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    assert found.detail(error_details_pb2.PreconditionFailure).violations[0].subject == name


async def test_promote(world: World) -> None:
    """A promotion leaves the stage, needs a reason, and stays in the history."""
    name = await begin(world)
    promote = world.stubs.rollouts.PromoteRollout
    found = await failed(
        promote(rollouts_pb2.PromoteRolloutRequest(name=name)), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT
    )
    assert found.fields == {"reason"}
    request = rollouts_pb2.PromoteRolloutRequest(name=name, reason="looked at it", stage=2)
    await failed(promote(request), Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    request.stage = 1
    promoted = await promote(request)
    assert promoted.stage == 2
    assert any(e.kind == "promoted" and "looked at it" in e.text for e in promoted.history)


async def test_promote_once(world: World) -> None:
    """The same promotion under one request id goes one stage on, not two; with another body it is refused."""
    name = await begin(world)
    request = rollouts_pb2.PromoteRolloutRequest(name=name, reason="looked at it", request_id="p1")
    first = await world.stubs.rollouts.PromoteRollout(request)
    second = await world.stubs.rollouts.PromoteRollout(request)
    assert (first.stage, second.stage) == (2, 2)
    assert second.phase == rollouts_pb2.ROLLOUT_PHASE_OBSERVING
    request.reason = "changed my mind"
    await failed(world.stubs.rollouts.PromoteRollout(request), Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)


async def test_refused_call_may_be_made_again(world: World) -> None:
    """A call that was refused is not remembered: the same id may try again."""
    world.script.subscribers, world.script.acknowledge = 1, False
    name = await begin(world)
    request = rollouts_pb2.PromoteRolloutRequest(name=name, reason="go on", request_id="p1")
    await failed(world.stubs.rollouts.PromoteRollout(request), Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    world.script.acknowledge = True
    world.handle.acknowledge("minilm")
    assert (await world.stubs.rollouts.PromoteRollout(request)).stage == 2


async def test_unknown_rollouts(world: World) -> None:
    """A rollout or a model that is not there is NOT_FOUND with the name."""
    name = "models/minilm/rollouts/r1"
    rollouts = world.stubs.rollouts
    await failed(
        rollouts.GetRollout(rollouts_pb2.GetRolloutRequest(name=name)), Reason.ROLLOUT_NOT_FOUND, CODE.NOT_FOUND
    )
    watch = rollouts.WatchRollout(rollouts_pb2.WatchRolloutRequest(name=name))
    found = await failed(watch.read(), Reason.ROLLOUT_NOT_FOUND, CODE.NOT_FOUND)
    assert found.detail(error_details_pb2.ResourceInfo).resource_name == name
    listing = rollouts.ListRollouts(rollouts_pb2.ListRolloutsRequest(parent="minilm"))
    await failed(listing, Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)


async def test_list(world: World) -> None:
    """Rollouts are listed the latest first, without their history, page by page."""
    await world.load("fp32")
    for _ in range(3):
        world.handle.advance(10)
        await world.update("int8", policy=QUICK, behaviour_change=types_pb2.BEHAVIOUR_CHANGE_EQUIVALENT)
        world.handle.give_verdict("minilm", GateVerdict.FAIL)
    names: list[str] = []
    token = ""
    while True:
        request = rollouts_pb2.ListRolloutsRequest(parent="models/minilm", page_size=2, page_token=token)
        page = await world.stubs.rollouts.ListRollouts(request)
        names += [r.name for r in page.rollouts]
        assert not any(r.history for r in page.rollouts)
        token = page.next_page_token
        if not token:
            break
    past = world.handle.state.models["minilm"].past_rollouts
    assert names == [f"models/minilm/rollouts/{r.rollout_id}" for r in reversed(past)]
