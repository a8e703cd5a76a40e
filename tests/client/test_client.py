"""The clients: retries, deadlines, errors, pages, operations and streams, synchronous and asyncio alike."""

from __future__ import annotations

import inspect
import threading
import time
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from echoplane import AsyncClient, Client, ClientOptions, EchoplaneError, RetryPolicy, RolledBackError, errors
from echoplane.googleapis import error_details_pb2, operations_pb2
from echoplane.options import Outage, with_request_id
from echoplane.v1 import diagnostics_pb2, keys_pb2, models_pb2, planning_pb2, plans_pb2, rollouts_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
LOAD = models_pb2.LoadModelRequest(model_id="minilm", source_uri="file:/models/minilm")
ROLLOUT = "models/minilm/rollouts/r1"


def test_unavailable_is_tried_again_with_one_request_id(daemon: Any, caller: Any, refuse: Any) -> None:
    """A call answered UNAVAILABLE is sent again, every time with the request id drawn for this call."""
    daemon.on(
        "LoadModel",
        refuse(UNAVAILABLE, "STORE_UNAVAILABLE", "full"),
        refuse(UNAVAILABLE, "", "away"),
        operations_pb2.Operation(name="o"),
    )
    assert caller.load_model(LOAD).name == "o"
    ids = [request.request_id for request in daemon.seen("LoadModel")]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert ids[0]
    assert LOAD.request_id == ""


def test_two_calls_have_two_request_ids(daemon: Any, caller: Any) -> None:
    """Each logical call draws its own request id; one that the caller gave is kept."""
    daemon.on("LoadModel", operations_pb2.Operation(name="o"))
    for request in (LOAD, LOAD, models_pb2.LoadModelRequest(model_id="a", request_id="mine")):
        caller.load_model(request)
    ids = [request.request_id for request in daemon.seen("LoadModel")]
    assert len(set(ids)) == 3
    assert ids[2] == "mine"


def test_other_errors_are_not_tried_again(daemon: Any, caller: Any, refuse: Any) -> None:
    """What trying again cannot help is raised at once, as its class."""
    daemon.on("GetModel", refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", "there is no model x"))
    with pytest.raises(errors.NotFoundError, match="MODEL_NOT_FOUND: there is no model x"):
        caller.get_model("x")
    assert len(daemon.seen("GetModel")) == 1
    assert daemon.seen("GetModel")[0].name == "models/x"


def test_attempts_end(daemon: Any, caller: Any, refuse: Any) -> None:
    """After the policy's attempts the last error is raised."""
    daemon.on("GetStatus", refuse(UNAVAILABLE, "STORE_UNAVAILABLE", "full"))
    with pytest.raises(errors.UnavailableError, match="STORE_UNAVAILABLE"):
        caller.get_status()
    assert len(daemon.seen("GetStatus")) == 4


def test_deadline_holds_over_all_attempts(daemon: Any, caller: Any, refuse: Any) -> None:
    """A wait that the daemon asks for and that does not fit into the deadline is not begun."""
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=20))
    daemon.on("GetStatus", refuse(UNAVAILABLE, "STORE_UNAVAILABLE", "full", retry))
    started = time.monotonic()
    with pytest.raises(errors.UnavailableError) as caught:
        caller.get_status(timeout_s=1)
    assert time.monotonic() - started < 1
    assert caught.value.failure.retry_delay_s == 20
    assert len(daemon.seen("GetStatus")) == 1


def test_deadline_is_sent(daemon: Any, caller: Any) -> None:
    """A daemon that does not answer in time is a DeadlineError."""

    def slow(_: Any) -> models_pb2.Model:
        time.sleep(0.5)  # the server is what is slow here
        return models_pb2.Model()

    daemon.on("GetModel", slow)
    with pytest.raises(errors.DeadlineError):
        caller.get_model("x", timeout_s=0.1)


def test_daemon_that_is_away(daemon: Any, caller: Any) -> None:
    """Nobody listening is an UnavailableError whose advice says what to look at."""
    daemon.stop()
    with pytest.raises(errors.UnavailableError) as caught:
        caller.get_status()
    assert "echoplaned runs" in caught.value.advice


def test_details_become_data(daemon: Any, caller: Any, refuse: Any) -> None:
    """Every detail of a status is in the failure: fields, preconditions, resource, plan, metadata."""
    daemon.on(
        "LoadModel",
        refuse(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "MEMORY_INSUFFICIENT",
            "no device has room",
            error_details_pb2.BadRequest(field_violations=[{"field": "model_id", "description": "bad"}]),
            error_details_pb2.PreconditionFailure(violations=[{"subject": "host", "description": "full"}]),
            error_details_pb2.QuotaFailure(violations=[{"subject": "loads", "description": "too many"}]),
            error_details_pb2.ResourceInfo(resource_name="models/minilm"),
            plans_pb2.Plan(upper_bytes=7, alternatives=[{"upper_bytes": 3, "device_id": "host"}]),
        ),
    )
    with pytest.raises(errors.ExhaustedError) as caught:
        caller.load_model(LOAD)
    failure = caught.value.failure
    assert failure.field_violations == (errors.FieldViolation("model_id", "bad"),)
    assert failure.violations == (errors.Violation("host", "full"), errors.Violation("loads", "too many"))
    assert failure.resource == "models/minilm"
    assert caught.value.plan is not None
    assert caught.value.plan.alternatives[0].upper_bytes == 3
    assert "alternatives" in caught.value.advice


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_is_an_error(code: grpc.StatusCode, refuse: Any) -> None:
    """Each gRPC code becomes an EchoplaneError that keeps it."""
    error = errors.from_status(refuse(code, "", "x").status)
    assert isinstance(error, EchoplaneError)
    assert error.failure.code is code
    assert error.reason == code.name


def test_pages_are_one_sequence(daemon: Any, caller: Any) -> None:
    """Lists follow page tokens to the end."""
    daemon.on(
        "ListModels",
        models_pb2.ListModelsResponse(models=[{"name": "models/a"}, {"name": "models/b"}], next_page_token="t"),
        models_pb2.ListModelsResponse(models=[{"name": "models/c"}]),
    )
    assert [model.name for model in caller.list_models()] == ["models/a", "models/b", "models/c"]
    assert [request.page_token for request in daemon.seen("ListModels")] == ["", "t"]


def test_wait_reports_progress_and_returns_the_response(daemon: Any, caller: Any, running: Any) -> None:
    """Waiting reports each change of the metadata once, and ends with the typed response."""
    phases = [
        metadata_pb2.OPERATION_PHASE_LOADING,
        metadata_pb2.OPERATION_PHASE_LOADING,
        metadata_pb2.OPERATION_PHASE_PROBING,
    ]
    states = [running(metadata_pb2.OperationMetadata(phase=phase)) for phase in phases]
    done = running(
        metadata_pb2.OperationMetadata(phase=metadata_pb2.OPERATION_PHASE_DONE), models_pb2.ModelVersion(name="v")
    )
    daemon.on("GetOperation", *states, done)
    seen: list[int] = []
    completed = caller.wait(states[0], 10, lambda metadata: seen.append(metadata.phase))
    assert isinstance(completed.response, models_pb2.ModelVersion)
    assert completed.response.name == "v"
    assert seen == [
        metadata_pb2.OPERATION_PHASE_LOADING,
        metadata_pb2.OPERATION_PHASE_PROBING,
        metadata_pb2.OPERATION_PHASE_DONE,
    ]


def test_wait_raises_a_rollback(caller: Any, refuse: Any, running: Any) -> None:
    """An update that was rolled back is a RolledBackError that names its rollout."""
    error = refuse(
        grpc.StatusCode.ABORTED, "ROLLED_BACK", "errors: 5 of 20", error_details_pb2.ResourceInfo(resource_name=ROLLOUT)
    )
    with pytest.raises(RolledBackError, match="errors: 5 of 20") as caught:
        caller.wait(running(metadata_pb2.OperationMetadata(), error=error))
    assert caught.value.failure.resource == ROLLOUT


def test_wait_gives_up_in_time(daemon: Any, caller: Any, running: Any) -> None:
    """A wait that is too long is a DeadlineError; the operation is not cancelled."""
    daemon.on("GetOperation", running(metadata_pb2.OperationMetadata()))
    with pytest.raises(errors.DeadlineError, match="still under way"):
        caller.wait(running(metadata_pb2.OperationMetadata()), 0.05)
    assert daemon.seen("CancelOperation") == []


def test_wait_outlives_a_restart(daemon: Any, caller: Any, running: Any) -> None:
    """A daemon that goes away in the middle of a wait and comes back costs nothing but time."""
    going = running(metadata_pb2.OperationMetadata())
    done = running(metadata_pb2.OperationMetadata(), models_pb2.Model(name="models/minilm"))
    daemon.on("GetOperation", done)
    daemon.stop()
    back = threading.Timer(0.3, daemon.start)
    back.start()
    completed = caller.wait(going, 20)
    back.join()
    assert completed.response == models_pb2.Model(name="models/minilm")


def test_rollout_watch_is_opened_again(daemon: Any, caller: Any, refuse: Any) -> None:
    """A watch that breaks is opened again, and ends with the outcome."""
    first = rollouts_pb2.Rollout(name=ROLLOUT, stage=1)
    last = rollouts_pb2.Rollout(name=ROLLOUT, stage=7, outcome=rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED)
    daemon.on("WatchRollout", [first, refuse(UNAVAILABLE, "", "restart")], [first], [last])
    assert [rollout.stage for rollout in caller.watch_rollout(ROLLOUT)] == [1, 1, 7]
    assert len(daemon.seen("WatchRollout")) == 3


def test_events_go_on_after_the_last_one_seen(daemon: Any, caller: Any, refuse: Any) -> None:
    """Events are asked for from the last resume token on, so that none is lost or doubled."""
    events = [diagnostics_pb2.ModelEvent(sequence=number, resume_token=f"t{number}") for number in range(4)]
    gone = refuse(grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", "not known any more")
    daemon.on("WatchEvents", [*events[:2], refuse(UNAVAILABLE, "", "restart")], [*events[2:], gone])
    with pytest.raises(errors.InvalidRequestError):
        caller.watch_events("minilm", resume_token="t")
    assert [request.resume_token for request in daemon.seen("WatchEvents")] == ["t", "t1"]


def test_every_method_reaches_its_service(daemon: Any, caller: Any) -> None:
    """Each remaining method sends its request with full names and returns the answer."""
    done = operations_pb2.Operation(name="o", done=True)
    calls: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("UpdateModel", done, ("update_model", models_pb2.UpdateModelRequest(model_id="m"))),
        ("DeleteModel", done, ("delete_model", "m")),
        ("ConfigureModel", models_pb2.Model(), ("configure_model", models_pb2.ConfigureModelRequest(name="m"))),
        ("GetModelVersion", models_pb2.ModelVersion(), ("get_version", "m/v")),
        ("ListModelVersions", models_pb2.ListModelVersionsResponse(versions=[{}]), ("list_versions", "m")),
        ("DeleteModelVersion", done, ("delete_version", "m/v")),
        ("SetModelVersionTier", done, ("set_version_tier", "m/v", 2)),
        ("CheckModelHealth", models_pb2.ModelHealth(), ("check_health", "m")),
        ("GetModelHealth", models_pb2.ModelHealth(), ("get_health", "m")),
        ("GetRollout", rollouts_pb2.Rollout(), ("get_rollout", ROLLOUT)),
        ("ListRollouts", rollouts_pb2.ListRolloutsResponse(rollouts=[{}]), ("list_rollouts", "m")),
        ("PauseRollout", rollouts_pb2.Rollout(), ("pause_rollout", ROLLOUT, "why")),
        ("ResumeRollout", rollouts_pb2.Rollout(), ("resume_rollout", ROLLOUT)),
        ("AbortRollout", rollouts_pb2.Rollout(), ("abort_rollout", ROLLOUT)),
        ("PromoteRollout", rollouts_pb2.Rollout(), ("promote_rollout", ROLLOUT, "why")),
        ("PlanModel", plans_pb2.Plan(), ("plan_model", planning_pb2.PlanModelRequest(source_uri="file:/x"))),
        (
            "BatchPlanModels",
            planning_pb2.BatchPlanModelsResponse(results=[{}]),
            ("plan_models", [planning_pb2.PlanModelRequest()]),
        ),
        ("ListDevices", planning_pb2.ListDevicesResponse(devices=[{}]), ("list_devices",)),
        (
            "GetReservoirParameters",
            plans_pb2.Reservoir(),
            ("get_reservoir", planning_pb2.GetReservoirParametersRequest()),
        ),
        ("GetMetrics", diagnostics_pb2.GetMetricsResponse(), ("get_metrics", "m")),
        ("GetUsage", diagnostics_pb2.GetUsageResponse(), ("get_usage", "m", "alice")),
        ("Explain", diagnostics_pb2.ExplainResponse(), ("explain", "m")),
        ("GetHealth", diagnostics_pb2.GetHealthResponse(), ("get_daemon_health",)),
        (
            "CreateKey",
            keys_pb2.CreateKeyResponse(secret="ep_a_b"),
            ("create_key", keys_pb2.CreateKeyRequest(role="ROLE_CLIENT")),
        ),
        ("ListKeys", keys_pb2.ListKeysResponse(keys=[{}]), ("list_keys",)),
        ("RevokeKey", keys_pb2.Key(name="keys/a"), ("revoke_key", "keys/a")),
    ]
    for method, answer, (name, *arguments) in calls:
        daemon.on(method, answer)
        result = getattr(caller, name)(*arguments)
        assert len(result) == 1 if isinstance(result, list) else result == answer, name
        assert len(daemon.seen(method)) == 1
    assert daemon.seen("GetModelVersion")[0].name == "models/m/versions/v"
    assert daemon.seen("ListRollouts")[0].parent == "models/m"
    assert daemon.seen("RevokeKey")[0].name == "keys/a"
    assert daemon.seen("CreateKey")[0].request_id, "a repeated call makes no second key"


def test_both_halves_are_alike() -> None:
    """Each method of the synchronous client is one of the asyncio client, with the same parameters, and the other way round."""

    def methods(client: type) -> dict[str, list[tuple[str, Any, Any]]]:
        found = {name: each for name, each in inspect.getmembers(client, inspect.isfunction) if name[0] != "_"}
        return {
            name: [(one.name, one.kind, one.default) for one in inspect.signature(each).parameters.values()]
            for name, each in found.items()
        }

    assert methods(Client) == methods(AsyncClient)
    assert {"create_key", "list_keys", "revoke_key", "load_model", "wait"} <= methods(AsyncClient).keys()


def test_back_off_grows_and_is_bounded() -> None:
    """The wait doubles from attempt to attempt, stays below its bound, and is never below what the daemon asked for."""
    policy = RetryPolicy(initial_s=0.1, multiplier=2, max_s=1)
    assert [policy.delay_s(attempt, 1.0) for attempt in range(5)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0])
    assert policy.delay_s(3, 0.0) == 0.0
    assert policy.delay_s(0, 0.5, asked_s=3.0) == 3.0


def test_outage_ends_after_the_reconnect_time() -> None:
    """A stream is given up only after the daemon was away for the whole reconnect time; an answer begins a new count."""
    now = [0.0]
    options = ClientOptions(reconnect_s=60, clock=lambda: now[0], draw=lambda: 1.0)
    outage, away = Outage(options), errors.UnavailableError(errors.STREAM_ENDED)
    assert outage.delay_s(away) == pytest.approx(0.1)
    now[0] = 59.0
    outage.on_stream()
    assert outage.delay_s(away) is not None
    now[0] = 61.0
    assert outage.delay_s(away) is None
    outage.on_answer()
    assert outage.delay_s(away) is not None
    assert outage.delay_s(errors.NotFoundError(errors.STREAM_ENDED)) is None


def test_requests_without_the_field_are_left_alone() -> None:
    """Only requests that have a request id get one."""
    request = models_pb2.GetModelRequest(name="m")
    assert with_request_id(request, lambda: "id") is request
