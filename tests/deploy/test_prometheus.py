"""The files for Prometheus: they are well-formed, scrape where the unit listens, and ask for metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import echoplaned
from echoplaned.core.failure import Reason
from echoplaned.ports.gateway import GatewayState, GatewayStatus
from echoplaned.telemetry.metrics import Metrics, MetricSources, XdsCounts, XdsTypeCounts
from echoplaned.xds.names import ResourceType

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROMTOOL: Final = shutil.which("promtool")


def read(name: str) -> dict[str, Any]:
    """Return a file of the folder."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return found


def test_promtool_takes_them() -> None:
    """The configuration, and by it the rules with their expressions."""
    if PROMTOOL is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [PROMTOOL, "check", "config", DEPLOY / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_scrapes_where_the_unit_listens() -> None:
    """One target: the address of `/metrics` in the unit."""
    (job,) = read("prometheus.yml")["scrape_configs"]
    unit = (DEPLOY / "echoplaned.service").read_text(encoding="utf-8")
    assert f"Environment=ECHOPLANE_METRICS_LISTEN={job['static_configs'][0]['targets'][0]}\n" in unit
    assert read("prometheus.yml")["rule_files"] == ["alerts.yml"]


def test_alarms_ask_for_metrics_that_there_are() -> None:
    """Each name is one that the daemon writes, totals without their ending; each alarm says what it means."""
    package = Path(echoplaned.__file__).parent
    written = {
        name
        for path in (package / "telemetry").glob("*.py")
        for name in re.findall(r'"(echoplane_[a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    rules = [rule for group in read("alerts.yml")["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 0
    for rule in rules:
        asked = {name.removesuffix("_total") for name in re.findall(r"echoplane_[a-z_]+", rule["expr"])}
        assert asked <= written, rule["alert"]
        assert rule["annotations"]["summary"].endswith(".")


def test_the_first_failure_is_an_increase() -> None:
    """What alarms take the increase of is on the first page, at 0: Prometheus sees none where a series begins at 1."""
    types = tuple(XdsTypeCounts(kind.name, 0, 0, 0) for kind in ResourceType)
    serving = GatewayStatus(GatewayState.SERVING, "127.0.0.1:8480")
    metrics = Metrics(MetricSources(xds=lambda: XdsCounts(1, types), gateway=lambda: serving))
    at_first = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    rules = [rule["expr"] for group in read("alerts.yml")["groups"] for rule in group["rules"]]
    counted = {name for expression in rules for name in re.findall(r"increase\((\w+)", expression)}
    assert counted <= {name for name, _ in at_first}
    assert {value for (name, _), value in at_first.items() if name in counted} == {0.0}
    for reason in Reason:
        metrics.load_ended(reason)
        labels = {"outcome": reason.value}
        assert ("echoplane_loads_total", frozenset(labels.items())) in at_first
        assert metrics.registry.get_sample_value("echoplane_loads_total", labels) == 1.0


def test_the_alarm_of_the_store_needs_nobody_who_changes_something() -> None:
    """A full disk fails no commit while none is made: what the daemon itself looks at says so."""
    rules = {rule["alert"]: rule["expr"] for group in read("alerts.yml")["groups"] for rule in group["rules"]}
    assert rules["EchoplaneStoreFails"].startswith("echoplane_store_writable == 0 or ")
