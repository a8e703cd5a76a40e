"""Commands that show how it is: devices, health, status, events, explanations, tokens."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import Result

from echoplane.v1 import diagnostics_pb2, models_pb2, planning_pb2, rollouts_pb2, types_pb2

ROLLOUT = "models/minilm/rollouts/r1"


def ok(result: Result) -> str:
    """The output of a command that ended with 0."""
    assert result.exit_code == 0, result.output
    return result.stdout


def test_devices(daemon: Any, cli: Any) -> None:
    """Devices are listed with what is free."""
    device = planning_pb2.Device(
        device_id="host", kind=planning_pb2.DEVICE_KIND_HOST, capacity_bytes=8 << 30, free_bytes=6 << 30
    )
    daemon.on("ListDevices", planning_pb2.ListDevicesResponse(devices=[device]))
    assert "6.0 GiB" in ok(cli("devices"))
    assert "not told" in ok(cli("devices"))
    assert json.loads(ok(cli("devices", "-o", "json")))[0]["free_bytes"] == 6 << 30


def test_devices_that_others_use(daemon: Any, cli: Any) -> None:
    """What is free is the smaller count; who else holds memory is named, with control characters out."""
    device = planning_pb2.Device(
        device_id="cuda:0", capacity_bytes=8 << 30, free_bytes=6 << 30, available_bytes=1 << 30
    )
    device.measured.foreign_bytes = 5 << 30
    device.measured.holders.add(name="evil\x1b[31m (pid 7)", bytes=5 << 30)
    daemon.on("ListDevices", planning_pb2.ListDevicesResponse(devices=[device]))
    shown = ok(cli("devices"))
    assert "1.0 GiB" in shown
    assert "6.0 GiB" not in shown
    assert "\x1b[31m" not in shown
    assert "(pid 7) 5.0 GiB" in shown


def test_health_is_the_exit_code(daemon: Any, cli: Any) -> None:
    """Health ends with 0 only where everything serves; a probe is made only when it is asked for."""
    daemon.on("GetHealth", diagnostics_pb2.GetHealthResponse(state=types_pb2.HEALTH_STATE_SERVING))
    daemon.on(
        "GetModelHealth",
        models_pb2.ModelHealth(name="models/minilm", state=types_pb2.HEALTH_STATE_DEGRADED, reason="1 of 2"),
    )
    daemon.on(
        "CheckModelHealth",
        models_pb2.ModelHealth(state=types_pb2.HEALTH_STATE_SERVING, versions=[{"probes": [{"passed": True}]}]),
    )
    assert "SERVING" in ok(cli("health"))
    assert cli("health", "minilm").exit_code == 1
    assert "1/1" in ok(cli("health", "minilm", "--probe"))


def test_explain_events_and_status(daemon: Any, cli: Any) -> None:
    """Explanations show their evidence, events are lines, the status is one page."""
    verdict = rollouts_pb2.Verdict(
        gate="errors",
        verdict=rollouts_pb2.Verdict.OUTCOME_HOLD,
        evidence=rollouts_pb2.Verdict.EVIDENCE_LIVE,
        reason="40 of 149 requests",
        counts={"old_request_count": 760, "new_request_count": 40},
    )
    decision = diagnostics_pb2.Decision(
        kind="held", text="not enough requests", verdict=verdict, evidence=["LRS 1 s old"]
    )
    daemon.on("Explain", diagnostics_pb2.ExplainResponse(name="models/minilm", summary="holds", decisions=[decision]))
    event = diagnostics_pb2.ModelEvent(
        kind="version.ready", subject="models/minilm/versions/fp32", text="ready", sequence=7
    )
    daemon.on("WatchEvents", [event, event])
    status = diagnostics_pb2.GetStatusResponse(
        daemon_version="0.1.0", models=[{"name": "models/minilm"}], alarms=["look here"]
    )
    daemon.on("GetStatus", status)
    shown = ok(cli("explain", "minilm/fp32"))
    assert "held: not enough requests" in shown
    assert "errors: HOLD" in shown
    assert daemon.seen("Explain")[0].name == "models/minilm/versions/fp32"
    assert "version.ready  models/minilm/versions/fp32  ready" in ok(cli("events", "--limit", "2"))
    assert json.loads(ok(cli("events", "--limit", "1", "-o", "json")))["sequence"] == 7
    assert "alarm: look here" in ok(cli("status"))
    engine = diagnostics_pb2.EngineSummary(kind="torch", problem="torch not installed: run `pip install x`")
    status.engines.append(engine)
    assert "none; torch: torch not installed: run `pip install x`" in ok(cli("status"))
    status.engines.add(kind="llama_cpp", configured=True)
    assert "engines" in ok(cli("status"))
    assert "llama_cpp" in ok(cli("status"))


def test_usage(daemon: Any, cli: Any) -> None:
    """A line a client and version, tokens below; what is asked for goes to the daemon."""
    used = diagnostics_pb2.ClientUsage(
        client="k1",
        version="models/minilm/versions/fp32",
        request_count=3,
        ok_count=2,
        client_error_count=1,
        sent_bytes=2048,
    )
    tokens = diagnostics_pb2.TokenUsage(version="models/minilm/versions/fp32", prompt_count=55, generated_count=77)
    uncounted = ["models/minilm/versions/fp32", "models/minilm/versions/other"]
    told = diagnostics_pb2.GetUsageResponse(usages=[used], tokens=[tokens], uncounted_versions=uncounted)
    daemon.on("GetUsage", told)
    shown = ok(cli("usage", "minilm", "--client", "k1"))
    assert "minilm/fp32" in shown
    assert "2.0 KiB" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["minilm/fp32", "55", "77"] in rows
    assert ["minilm/other", "not", "counted", "not", "counted"] in rows, "no zero"
    (asked,) = daemon.seen("GetUsage")
    assert (asked.model, asked.client) == ("minilm", "k1")
    daemon.on("GetUsage", diagnostics_pb2.GetUsageResponse())
    assert "no requests yet" in ok(cli("usage"))
    assert json.loads(ok(cli("usage", "-o", "json"))) is not None
