"""The API as people use it from a shell: grpcurl by reflection, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import e2e_system as e

GRPCURL = shutil.which("grpcurl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

pytestmark = pytest.mark.skipif(
    GRPCURL is None and not os.environ.get("CI"), reason="grpcurl needs Go; `make setup` builds it where Go is"
)


def call(system: e.System, *words: str, body: object = None) -> subprocess.CompletedProcess[str]:
    """Run grpcurl against the daemon."""
    data = [] if body is None else ["-d", json.dumps(body)]
    command = [str(GRPCURL), "-plaintext", *data, system.daemon.address, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_first_minutes(system: e.System) -> None:
    """List, describe, plan a load, load, get, health; an invalid load says reason and every field."""
    listed = call(system, "list").stdout.split()
    assert {"echoplane.v1.ModelService", "grpc.health.v1.Health"} <= set(listed)
    assert "grpc.channelz.v1.Channelz" not in listed
    assert "rpc LoadModel" in call(system, "describe", "echoplane.v1.ModelService").stdout
    assert "is a method" in call(system, "describe", "echoplane.v1.ModelService.LoadModel").stdout
    load = {"model_id": "curl", "version_id": "v1", "source_uri": system.made.uri("encoder")}
    before = system.listing()
    planned = json.loads(
        call(system, "echoplane.v1.ModelService/LoadModel", body={**load, "validate_only": True}).stdout
    )
    assert planned["metadata"]["plan"]["fits"]
    assert "name" not in planned
    assert system.listing() == before
    assert call(system, "echoplane.v1.ModelService/LoadModel", body=load).returncode == 0
    health = {"service": "models/curl"}

    def serving() -> bool:
        return json.loads(call(system, "grpc.health.v1.Health/Check", body=health).stdout).get("status") == "SERVING"

    e.eventually(serving, e.LOAD_S, "health to say SERVING", 0.5)
    got = json.loads(call(system, "echoplane.v1.ModelService/GetModel", body={"name": "curl"}).stdout)
    assert got["serving_version" if "serving_version" in got else "servingVersion"] == "models/curl/versions/v1"
    bad = call(system, "echoplane.v1.ModelService/LoadModel", body={"model_id": "A/b", "source_uri": "", "dtype": 77})
    assert bad.returncode != 0
    for text in ("FIELD_INVALID", "model_id", "source_uri", "dtype"):
        assert text in bad.stderr + bad.stdout
    system.delete("curl")


def update_quiet(system: e.System, policy: dict[str, object]) -> float:
    """Update a model that nobody calls with grpcurl alone, see it decided by probes, and return the seconds from its first stage."""
    system.load("quiet")
    body = {"model_id": "quiet", "version_id": "v2", "source_uri": system.made.uri("better"), "policy": policy}
    started = call(system, "echoplane.v1.ModelService/UpdateModel", body=body)
    assert started.returncode == 0, started.stderr
    e.eventually(lambda: system.rollout("quiet").outcome, 300.0, "the rollout's end", 1.0)
    rollout = system.rollout("quiet")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
    decided = [event.verdict for event in rollout.history if event.HasField("verdict")]
    assert any(verdict.evidence == verdict.EVIDENCE_PROBES for verdict in decided)
    observed = [event.time.ToMilliseconds() / 1000 for event in rollout.history if event.stage > 0]
    system.delete("quiet")
    return rollout.end_time.ToMilliseconds() / 1000 - observed[0]


def test_an_update_without_traffic_ends_by_probes(system: e.System) -> None:
    """No traffic, no subscriber: every stage is decided by probes; how long they take is the machine's affair."""
    update_quiet(system, {"stages_percent": [5, 50, 100], "probe_count": 10, "soak_s": 5})


@pytest.mark.soak
def test_an_update_without_traffic_by_the_default_policy(system: e.System) -> None:
    """All seven stages with 60 probes in each are through in under two minutes, on a machine that does nothing else."""
    assert update_quiet(system, {}) < 120
