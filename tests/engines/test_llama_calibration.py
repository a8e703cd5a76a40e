"""What a real llama-server takes teaches the plans of its build on this device, and is there again after a restart."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoplane import Client
from echoplane.v1 import models_pb2, planning_pb2, plans_pb2
from echoplaned.testing.daemon import DaemonProcess
from tests.engines.llama_parts import model_file, server_file

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

WAIT_S = 200.0
ENGINE = "llama_cpp"
CONTEXT, SEQUENCES = 256, 2


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """Run a daemon that may start llama-server."""
    server_file()
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        flags = ("--engine", f"llama_cpp={sys.prefix}", "--standby-workers", "0")
        process = DaemonProcess(Path(folder).resolve() / "state", (model_file().parent,), flags)
        try:
            process.start(WAIT_S)
            yield process
        finally:
            process.clean()


def plan(client: Client) -> plans_pb2.Plan:
    """Ask what one more of the same would take."""
    request = planning_pb2.PlanModelRequest(
        source_uri=f"file:{model_file()}", engine=ENGINE, context_length=CONTEXT, max_concurrency=SEQUENCES
    )
    return client.plan_model(request)


def load(client: Client) -> None:
    """Load the model, and wait until it serves."""
    request = models_pb2.LoadModelRequest(
        model_id="m", version_id="v1", source_uri=f"file:{model_file()}", engine=ENGINE, context_length=CONTEXT,
        max_concurrency=SEQUENCES,
    )  # fmt: skip
    client.wait(client.load_model(request), WAIT_S)


def measured_bytes(client: Client) -> int:
    """Wait until the engine was measured; return what it takes."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < WAIT_S:
        (version,) = client.list_versions("m")
        if version.memory.measured.increment_bytes and plan(client).calibration.sample_count:
            return version.memory.measured.increment_bytes
        time.sleep(0.1)
    pytest.fail("the engine was not measured")


def test_a_plan_is_nearer_once_an_engine_of_the_build_was_measured(
    daemon: DaemonProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before: constants of a device. Afterwards: what the processes took, by engine, build and device; also of the next daemon."""
    with Client(daemon.address) as client:
        before = plan(client)
        assert not before.HasField("calibration")
        load(client)
        took = measured_bytes(client)
        after = plan(client)
        (version,) = client.list_versions("m")
    assert (after.calibration.engine, after.calibration.sample_count) == (ENGINE, 1)
    assert version.engine_build in after.calibration.engine_version
    assert version.instances[0].engine_figures.context_length == CONTEXT
    assert {part.name for part in after.components} >= {"weights", "kv_cache", "engine_processes"}
    off = [abs(one.bytes - took) for one in (before, after)]
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the comparison
            f"\nllama-server took {took / 1e6:.0f} MB; planned {before.bytes / 1e6:.0f} MB before it was measured (at most "
            f"{before.upper_bytes / 1e6:.0f}), {after.bytes / 1e6:.0f} MB afterwards (at most {after.upper_bytes / 1e6:.0f})"
        )
    assert off[1] < off[0]
    assert after.upper_bytes >= took
    daemon.kill()
    daemon.start(WAIT_S)
    with Client(daemon.address) as client:
        assert plan(client).calibration == after.calibration
