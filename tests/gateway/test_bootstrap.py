"""Envoy's bootstrap: what must be in it, and that Envoy takes it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from echoplaned.gateway.binary import find_envoy
from echoplaned.gateway.bootstrap import make_bootstrap
from echoplaned.gateway.options import GatewayOptions
from echoplaned.ports.gateway import CONTROL_CLUSTER, OWN_CLUSTER


def test_what_a_bootstrap_holds() -> None:
    """The way to the daemon's socket, an administration that this user alone opens, no time-out for the first configuration."""
    found = make_bootstrap(GatewayOptions(Path("/s"), "127.0.0.1:80", Path("/bin/envoy"), max_connections=7), 4)
    assert found["admin"]["address"]["pipe"] == {"path": "/s/gateway/admin-4.sock", "mode": 0o600}
    assert found["dynamic_resources"]["lds_config"]["initial_fetch_timeout"] == "0s"
    text = json.dumps(found)
    assert "/s/gateway/control.sock" in text
    assert '"max_active_downstream_connections": 7' in text
    usual, own = found["static_resources"]["clusters"]
    (threshold,) = usual["circuit_breakers"]["thresholds"]
    assert set(threshold) == {"max_connections", "max_pending_requests", "max_requests"}
    assert min(threshold.values()) > 100_000, "Envoy's own bound is 1,024 requests, which one caller could hold"
    assert '"max_interval": "1s"' in text, "a daemon that comes back is asked soon"
    asking = [found["dynamic_resources"]["ads_config"], found["cluster_manager"]["load_stats_config"]]
    assert {each["grpc_services"][0]["envoy_grpc"]["cluster_name"] for each in asking} == {own["name"]}
    assert usual["name"] == CONTROL_CLUSTER
    assert own["name"] == OWN_CLUSTER
    assert "listeners" not in found["static_resources"]


@pytest.mark.system
def test_envoy_takes_it() -> None:
    """Envoy finds nothing wrong with it, and nothing to warn of."""
    binary = find_envoy()
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        (Path(folder) / "gateway").mkdir()
        config = Path(folder) / "bootstrap.json"
        config.write_text(json.dumps(make_bootstrap(GatewayOptions(Path(folder), "127.0.0.1:80", binary), 1)))
        command = [str(binary), "-c", str(config), "--mode", "validate", "--disable-hot-restart", "--concurrency", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
