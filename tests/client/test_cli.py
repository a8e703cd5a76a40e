"""The command: what it prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from rich.console import Console
from typer.testing import Result

from echoplane import Client
from echoplane.cli import follow, text
from echoplane.cli.progress import describe
from echoplane.googleapis import error_details_pb2, operations_pb2
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.v1 import models_pb2, plans_pb2, rollouts_pb2, types_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2

ROLLOUT = "models/minilm/rollouts/r1"
SUCCEEDED = rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED
ROLLED_BACK = rollouts_pb2.ROLLOUT_OUTCOME_ROLLED_BACK
PLAN = plans_pb2.Plan(
    fits=True,
    architecture="BertModel",
    parameter_count=22_713_216,
    dtype=types_pb2.DTYPE_FP32,
    replicas=1,
    bytes=90_852_864,
    upper_bytes=99_000_000,
    components=[{"name": "weights", "bytes": 90_852_864, "formula": "P * e", "inputs": [{"name": "e", "value": 4}]}],
    device_ids=["host"],
)


def rollout(
    stage: int, outcome: rollouts_pb2.RolloutOutcome = rollouts_pb2.ROLLOUT_OUTCOME_UNSPECIFIED
) -> rollouts_pb2.Rollout:
    """A rollout at a stage."""
    return rollouts_pb2.Rollout(
        name=ROLLOUT,
        from_version="models/minilm/versions/fp32",
        to_version="models/minilm/versions/int8",
        policy={"stages_percent": [5, 50, 100]},
        phase=rollouts_pb2.ROLLOUT_PHASE_OBSERVING,
        stage=stage,
        outcome=outcome,
        desired=[{"version": "models/minilm/versions/int8", "weight_ppm": 50_000}],
        acknowledged=[{"version": "models/minilm/versions/int8", "weight_ppm": 50_000}],
        verdicts=[
            {
                "gate": "errors",
                "verdict": rollouts_pb2.Verdict.OUTCOME_HOLD,
                "evidence": rollouts_pb2.Verdict.EVIDENCE_LIVE,
                "reason": "40 of 149 requests",
                "counts": {"old_request_count": 760, "new_request_count": 40},
            }
        ],
        outcome_reason="new fails 20 %" if outcome == ROLLED_BACK else "",
    )


def ok(result: Result) -> str:
    """The output of a command that ended with 0."""
    assert result.exit_code == 0, result.output
    return result.stdout


def test_load_waits_until_ready(daemon: Any, cli: Any, running: Any, tmp_path: Path) -> None:
    """Load sends what was said, shows progress as lines on stderr, and prints the version."""
    loading = metadata_pb2.OperationMetadata(
        target="models/minilm/versions/fp32", phase=metadata_pb2.OPERATION_PHASE_LOADING
    )
    version = models_pb2.ModelVersion(name="models/minilm/versions/fp32", state=models_pb2.VERSION_STATE_SERVING)
    daemon.on("LoadModel", running(loading))
    daemon.on("GetOperation", running(loading), running(loading, version))
    result = cli(
        "load", "minilm", str(tmp_path), "--version", "fp32", "--dtype", "fp32", "--label", "team=search", "--pinned"
    )
    assert "models/minilm/versions/fp32" in ok(result)
    assert "SERVING" in result.stdout
    assert result.stderr.count("loading") == 1
    request = daemon.seen("LoadModel")[0]
    assert request.source_uri == f"file:{tmp_path}"
    assert (request.dtype, request.pinned, dict(request.labels)) == (types_pb2.DTYPE_FP32, True, {"team": "search"})
    assert request.request_id


def test_load_that_does_not_fit(daemon: Any, cli: Any, refuse: Any) -> None:
    """The reason, what is free, what would fit and what to do are on stderr; nothing is on stdout; the exit code is 1."""
    plan = plans_pb2.Plan(
        upper_bytes=4096, alternatives=[{"dtype": "DTYPE_INT8", "device_id": "host", "upper_bytes": 1024}]
    )
    daemon.on(
        "LoadModel", refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "MEMORY_INSUFFICIENT", "no device has room", plan)
    )
    result = cli("load", "minilm", "/models/minilm")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "MEMORY_INSUFFICIENT: no device has room" in result.stderr
    assert "would fit: INT8" in result.stderr
    assert "what to do:" in result.stderr


def test_every_field_violation_is_shown(daemon: Any, cli: Any, refuse: Any) -> None:
    """All violations of a request are printed, one a line."""
    bad = error_details_pb2.BadRequest(
        field_violations=[
            {"field": "model_id", "description": "pattern"},
            {"field": "replicas", "description": "range"},
        ]
    )
    daemon.on("LoadModel", refuse(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "2 fields", bad))
    result = cli("load", "A/B", "/models/minilm")
    assert result.exit_code == 1
    assert "  model_id: pattern" in result.stderr
    assert "  replicas: range" in result.stderr


def test_validate_only_prints_the_plan(daemon: Any, cli: Any, running: Any) -> None:
    """Validation prints the plan, and ends with 1 where it does not fit."""
    daemon.on("LoadModel", running(metadata_pb2.OperationMetadata(plan=PLAN), name=""))
    found = json.loads(ok(cli("load", "minilm", "/m", "--validate-only", "-o", "json")))
    assert found["parameter_count"] == 22_713_216
    daemon.on("LoadModel", running(metadata_pb2.OperationMetadata(plan=plans_pb2.Plan()), name=""))
    assert cli("load", "minilm", "/m", "--validate-only").exit_code == 1
    assert daemon.seen("LoadModel")[0].validate_only


def test_update_shows_the_rollout(daemon: Any, cli: Any, running: Any) -> None:
    """An update prints a line for each change of its rollout on stderr, and the model at the end; its policy is what was set."""
    metadata = metadata_pb2.OperationMetadata(target="models/minilm", rollout=ROLLOUT)
    daemon.on("UpdateModel", running(metadata))
    daemon.on("WatchRollout", [rollout(1), rollout(1), rollout(2), rollout(3, SUCCEEDED)])
    daemon.on(
        "GetOperation",
        running(metadata, models_pb2.Model(name="models/minilm", serving_version="models/minilm/versions/int8")),
    )
    result = cli(
        "update",
        "minilm",
        "--version",
        "int8",
        "--set",
        "stages_percent=[50,100]",
        "--set",
        "on_expire=hold",
        "--set",
        "stage_min_s=2",
    )
    assert "models/minilm/versions/int8" in ok(result)
    assert result.stderr.count("OBSERVING | stage 1/3") == 1
    assert "errors=HOLD LIVE old 0/760, new 0/40 failed 40 of 149 requests" in result.stderr
    assert "SUCCEEDED" in result.stderr
    policy = daemon.seen("UpdateModel")[0].policy
    assert (list(policy.stages_percent), policy.on_expire, policy.stage_min_s) == (
        [50, 100],
        rollouts_pb2.ON_EXPIRE_HOLD,
        2.0,
    )


def test_update_rolled_back_is_not_zero(daemon: Any, cli: Any, running: Any, refuse: Any) -> None:
    """A rolled-back update ends with 1 and says why."""
    metadata = metadata_pb2.OperationMetadata(target="models/minilm", rollout=ROLLOUT)
    error = refuse(grpc.StatusCode.ABORTED, "ROLLED_BACK", "new fails 20 %")
    daemon.on("UpdateModel", running(metadata))
    daemon.on("WatchRollout", [rollout(1), rollout(1, ROLLED_BACK)])
    daemon.on("GetOperation", running(metadata, error=error))
    result = cli("update", "minilm", "/models/cut64")
    assert result.exit_code == 1
    assert "ROLLED_BACK: new fails 20 %" in result.stderr


def test_policy_that_is_none(cli: Any) -> None:
    """A policy field that does not exist is a usage error, before anything is sent."""
    result = cli("update", "minilm", "--version", "x", "--set", "stage_minimum=2")
    assert result.exit_code == 2
    assert "stage_minimum" in result.stderr


def test_ls_and_get(daemon: Any, cli: Any) -> None:
    """Models and versions are listed in aligned columns, or as JSON with numbers."""
    model = models_pb2.Model(
        name="models/minilm",
        serving_version="models/minilm/versions/fp32",
        health=types_pb2.HEALTH_STATE_SERVING,
        traffic=[{"version": "models/minilm/versions/fp32", "weight_ppm": 1_000_000}],
    )
    version = models_pb2.ModelVersion(
        name="models/minilm/versions/fp32", memory={"predicted_bytes": 1 << 20}, replicas=1
    )
    daemon.on("ListModels", models_pb2.ListModelsResponse(models=[model]))
    daemon.on("ListModelVersions", models_pb2.ListModelVersionsResponse(versions=[version]))
    daemon.on("GetModel", model)
    daemon.on("GetModelVersion", version)
    assert ok(cli("ls")).splitlines()[1].split() == ["minilm", "fp32", "SERVING", "fp32", "100", "%"]
    assert "1.0 MiB" in ok(cli("ls", "minilm"))
    assert json.loads(ok(cli("ls", "--output", "json")))[0]["traffic"][0]["weight_ppm"] == 1_000_000
    assert "models/minilm/versions/fp32" in ok(cli("get", "minilm"))
    assert json.loads(ok(cli("get", "minilm/fp32", "-o", "json")))["memory"]["predicted_bytes"] == 1 << 20
    assert daemon.seen("GetModelVersion")[0].name == "models/minilm/versions/fp32"


def test_rm(daemon: Any, cli: Any, running: Any) -> None:
    """Deleting waits for the end; a version is not deleted by force."""
    done = operations_pb2.Operation(name="operations/o1", done=True)
    daemon.on("DeleteModel", running(metadata_pb2.OperationMetadata()))
    daemon.on("GetOperation", done)
    assert "deleted minilm" in ok(cli("rm", "minilm", "--force"))
    assert daemon.seen("DeleteModel")[0].force
    daemon.on("DeleteModelVersion", done)
    assert "deleted" in ok(cli("rm", "minilm/fp32"))
    assert cli("rm", "minilm/fp32", "--force").exit_code == 2


def test_rollout_watch(daemon: Any, cli: Any) -> None:
    """Watching a model's rollout ends with 0 where it succeeded, with 1 where it did not; JSON is one line a state."""
    daemon.on("GetModel", models_pb2.Model(rollout=ROLLOUT))
    daemon.on("WatchRollout", [rollout(1), rollout(3, SUCCEEDED)])
    assert len(ok(cli("rollout", "watch", "minilm")).splitlines()) == 2
    states = [json.loads(line) for line in ok(cli("rollout", "watch", ROLLOUT, "-o", "json")).splitlines()]
    assert [state["stage"] for state in states] == [1, 3]
    daemon.on("WatchRollout", [rollout(1, ROLLED_BACK)])
    result = cli("rollout", "watch", "minilm")
    assert result.exit_code == 1
    assert "ROLLED_BACK: new fails 20 %" in result.stderr


def test_rollout_of_a_model_that_had_none(daemon: Any, cli: Any) -> None:
    """A model without any rollout is an error that says what to do; one with an old one shows it."""
    daemon.on("GetModel", models_pb2.Model())
    daemon.on("ListRollouts", rollouts_pb2.ListRolloutsResponse())
    result = cli("rollout", "pause", "minilm")
    assert result.exit_code == 1
    assert "never had a rollout" in result.stderr
    daemon.on("ListRollouts", rollouts_pb2.ListRolloutsResponse(rollouts=[rollout(3, SUCCEEDED)]))
    assert "SUCCEEDED" in ok(cli("rollout", "ls", "minilm"))


def test_rollout_commands(daemon: Any, cli: Any) -> None:
    """Pause, resume, promote and abort reach the rollout with their reasons; a promotion names the stage that was seen."""
    for method in ("GetRollout", "PauseRollout", "ResumeRollout", "PromoteRollout", "AbortRollout"):
        daemon.on(method, rollout(2))
    daemon.on("WatchRollout", [rollout(2, ROLLED_BACK)])
    ok(cli("rollout", "pause", ROLLOUT, "--reason", "lunch"))
    ok(cli("rollout", "resume", ROLLOUT))
    ok(cli("rollout", "promote", ROLLOUT, "--reason", "checked by hand"))
    assert "ROLLED_BACK" in ok(cli("rollout", "abort", ROLLOUT))
    assert daemon.seen("PauseRollout")[0].reason == "lunch"
    assert daemon.seen("PromoteRollout")[0].stage == 2
    assert cli("rollout", "promote", ROLLOUT).exit_code == 2


def test_plan_asks_the_daemon(daemon: Any, cli: Any) -> None:
    """A plan prints every component with its formula, and the exact count."""
    daemon.on("PlanModel", PLAN)
    shown = ok(cli("plan", "/models/minilm", "--daemon", "--dtype", "int8"))
    assert "22,713,216" in shown
    assert "P * e" in shown
    assert (
        json.loads(ok(cli("plan", "/models/minilm", "--daemon", "--output", "json")))["components"][0]["bytes"]
        == 90_852_864
    )
    assert daemon.seen("PlanModel")[0].dtype == types_pb2.DTYPE_INT8


def test_progress_says_what_is_waited_for() -> None:
    """A load that waits for memory tells it on its line."""
    waiting = metadata_pb2.OperationMetadata(target="models/m", waiting_reason="cuda:0 is not free yet")
    assert describe(waiting).endswith("waits: cuda:0 is not free yet")


def test_infer(daemon: Any, cli: Any) -> None:
    """An inference prints who answered, and the values as JSON."""
    output = {"name": "embedding", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": [0.5, 1.0]}}
    daemon.on("ModelInfer", oip.ModelInferResponse(outputs=[output]))
    assert "answered by int8" in ok(cli("infer", "minilm", "hello", "--target", daemon.address))
    found = json.loads(ok(cli("infer", "minilm", "--token-ids", "1,2", "--target", daemon.address, "-o", "json")))
    assert found["outputs"]["embedding"]["values"] == [[0.5, 1.0]]
    assert cli("infer", "minilm", "--target", daemon.address).exit_code == 2


def test_bootstrap(cli: Any, daemon: Any) -> None:
    """The bootstrap is JSON on stdout, or a line for a shell."""
    assert json.loads(ok(cli("bootstrap", "--node", "n")))["xds_servers"][0]["server_uri"] == daemon.address
    assert ok(cli("bootstrap", "--export")).startswith("export GRPC_XDS_BOOTSTRAP_CONFIG='{")


def test_nobody_listens(daemon: Any, cli: Any) -> None:
    """A daemon that is not there is said in two lines."""
    daemon.stop()
    result = cli("devices")
    assert result.exit_code == 1
    assert "UNAVAILABLE" in result.stderr
    assert "echoplaned runs" in result.stderr


def test_numbers_for_people() -> None:
    """Sizes and weights are written without noise."""
    assert [text.size(0), text.size(1023), text.size(1 << 20), text.size(5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 MiB",
        "5.0 TiB",
    ]
    assert [text.percent(weight) for weight in (0, 50_000, 999_999, 1_000_000)] == ["0 %", "5 %", "99.9999 %", "100 %"]


def test_terminal_views_show_texts_as_they_are() -> None:
    """On a terminal stages, weights, verdicts and counts are drawn, and a daemon's text is never taken for markup."""
    state = rollout(2)
    state.verdicts[0].reason = "[/red] of [bold]"
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(follow.picture(state))
    drawn = console.export_text()
    for part in ("✓ 5 %", "● 50 %", "· 100 %", "acknowledged 5 %", "HOLD", "new 0/40", "[/red] of [bold]"):
        assert part in drawn
    assert "[/red]" in text._drawn(("reason",), [("[/red]",)], "")


def test_terminal_progress(
    daemon: Any, running: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal an update is drawn in place, on stderr; the model goes to stdout."""
    metadata = metadata_pb2.OperationMetadata(target="models/minilm", rollout=ROLLOUT)
    daemon.on("WatchRollout", [rollout(1), rollout(3, SUCCEEDED)])
    daemon.on("GetOperation", running(metadata, models_pb2.Model(name="models/minilm")))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Client(daemon.address) as client:
        completed = follow.follow_update(client, running(metadata), 10)
    assert completed.response == models_pb2.Model(name="models/minilm")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "✓ 5 %" in captured.err
