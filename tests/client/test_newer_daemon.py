"""What the command shows of values that it does not know, from a newer or a broken daemon."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from echoplane.v1 import diagnostics_pb2, models_pb2, planning_pb2, rollouts_pb2
from tests.client.test_cli import ok
from tests.client.test_unreadable import BROKEN, KIND, one_error

FAR = Timestamp(seconds=10**15)
ROLLOUT = "models/minilm/rollouts/r1"


def odd(kind: type[Message], /, **values: int) -> Any:
    """Return a message with numbers in its enum fields that have no name here."""
    return kind(**values)


def test_new_enum_values_are_shown_by_number(daemon: Any, cli: Any) -> None:
    """An older command shows what a newer daemon says, number by number."""
    status = diagnostics_pb2.GetStatusResponse()
    status.gateway.CopyFrom(odd(diagnostics_pb2.GatewayStatus, state=90))
    status.models.append(odd(diagnostics_pb2.ModelSummary, health=91))
    status.active_rollouts.append(odd(diagnostics_pb2.RolloutSummary, phase=92))
    daemon.on("GetStatus", status)
    shown = ok(cli("status"))
    assert [number for number in (90, 91, 92) if f"UNKNOWN_{number}" not in shown] == []
    daemon.on("ListModels", models_pb2.ListModelsResponse(models=[odd(models_pb2.Model, health=93)]))
    assert "UNKNOWN_93" in ok(cli("ls"))
    version = odd(models_pb2.ModelVersion, state=94, dtype=95)
    version.instances.append(odd(models_pb2.Instance, state=96))
    daemon.on("GetModelVersion", version)
    shown = ok(cli("get", "m/v"))
    assert [number for number in (94, 95, 96) if f"UNKNOWN_{number}" not in shown] == []
    daemon.on("ListDevices", planning_pb2.ListDevicesResponse(devices=[odd(planning_pb2.Device, kind=97)]))
    assert "unknown_97" in ok(cli("devices"))


def test_new_states_are_not_well(daemon: Any, cli: Any) -> None:
    """A state or an outcome that is not known is no success, and is named."""
    daemon.on("GetModelHealth", odd(models_pb2.ModelHealth, state=55))
    assert "a is UNKNOWN_55" in one_error(cli("health", "a"))
    daemon.on("GetHealth", odd(diagnostics_pb2.GetHealthResponse, state=56))
    assert "the control plane is UNKNOWN_56" in one_error(cli("health"))
    state = odd(rollouts_pb2.Rollout, phase=57, outcome=58)
    state.verdicts.append(odd(rollouts_pb2.Verdict, verdict=59, evidence=60))
    daemon.on("WatchRollout", [state])
    result = cli("rollout", "watch", ROLLOUT)
    assert "UNKNOWN_58" in one_error(result)
    assert "UNKNOWN_59 UNKNOWN_60" in result.stdout


def test_times_that_no_calendar_has(daemon: Any, cli: Any) -> None:
    """Commands for people tell such a time by its seconds."""
    status = diagnostics_pb2.GetStatusResponse()
    status.gateway.listen_address = "127.0.0.1:1"
    status.gateway.certificate_expire_time.CopyFrom(FAR)
    daemon.on("GetStatus", status)
    daemon.on("Explain", diagnostics_pb2.ExplainResponse(decisions=[{"time": FAR}], refusals=[{"time": FAR}]))
    daemon.on("WatchEvents", [diagnostics_pb2.ModelEvent(time=FAR)])
    daemon.on("GetUsage", diagnostics_pb2.GetUsageResponse(start_time=FAR))
    daemon.on("GetRollout", rollouts_pb2.Rollout(name=ROLLOUT, history=[{"time": FAR}]))
    daemon.on("GetModelVersion", models_pb2.ModelVersion(load_duration=Duration(seconds=10**15)))
    for arguments in (
        ("status",),
        ("explain", "m"),
        ("events", "--limit", "1"),
        ("usage",),
        ("get", "m/v"),
        ("get", ROLLOUT),
    ):
        assert "1000000000000000" in ok(cli(*arguments)), arguments


def test_json_of_what_has_none(daemon: Any, cli: Any) -> None:
    """JSON that would not be true is not printed: the command says which field it is about."""
    daemon.on("GetModel", models_pb2.Model(name="models/a", create_time=FAR))
    result = cli("get", "a", "-o", "json")
    assert "create_time" in one_error(result)
    assert result.stdout == ""
    version = models_pb2.ModelVersion(name="models/a/versions/v")
    version.failure.details.add(type_url=f"{KIND}echoplane.v1.Later", value=BROKEN)
    daemon.on("GetModelVersion", version)
    assert "cannot read" in one_error(cli("get", "a/v", "-o", "json"))
    daemon.on("GetModel", odd(models_pb2.Model, health=77))
    assert json.loads(ok(cli("get", "a", "-o", "json")))["health"] == 77


def test_a_name_that_is_none(cli: Any) -> None:
    """What else is wrong with a value is one line too."""
    assert "neither MODEL/ID nor" in one_error(cli("rollout", "watch", "a/b/rollouts/d"))
