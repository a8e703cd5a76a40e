"""What a stranger installs: both wheels in an empty environment, the daemon started from it, and a plan made there."""

from __future__ import annotations

import json
import socket
import subprocess
import zipfile
from pathlib import Path

import pytest

from echoplaned.testing.checkpoints import make_encoder
from echoplaned.testing.daemon import free_port
from tests.built_wheels import build_wheels, make_environment, run
from tests.e2e import e2e_system as e


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The daemon's wheel and the client's, as ``make wheel`` builds them."""
    return build_wheels(tmp_path_factory)


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that has both wheels, what these ask for, and nothing else."""
    return make_environment(tmp_path_factory.mktemp("empty environment") / "venv", *wheels)


def test_the_wheels_hold_the_product_alone(wheels: list[Path]) -> None:
    """One wheel each; the native module and the types are in, tests and benchmarks are not."""
    assert [wheel.name.partition("-")[0] for wheel in wheels] == ["echoplane", "echoplaned"]
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels]
    assert {"echoplane/py.typed", "echoplane/v1/models_pb2.py"} <= names[0]
    assert {"echoplaned/py.typed", "echoplaned/__main__.py"} <= names[1]
    assert any(name.startswith("echoplaned/_allocator.") for name in names[1])
    folders = {name.partition("/")[0] for each in names for name in each}
    assert not folders & {"tests", "benchmarks", "allocator_rs"}


def test_the_daemon_serves_from_them(installed: Path, tmp_path: Path) -> None:
    """Without torch and outside the repository it starts, answers the command, makes a plan, and ends when it is told to."""
    models = tmp_path / "models"
    make_encoder(models / "tiny")
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [str(installed / "echoplaned"), "serve", "--listen", address, "--model-root", str(models)]
    command += ["--state-dir", str(tmp_path / "state"), "--standby-workers", "0"]
    log = (tmp_path / "daemon.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) as daemon:
        try:

            def answers() -> bool:
                assert daemon.poll() is None, (tmp_path / "daemon.log").read_text(encoding="utf-8")
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            e.eventually(answers, 60.0, "the daemon of the wheels")
            health = run(installed / "echoplane", "health", "--output", "json", cwd=tmp_path, address=address)
            assert "SERVING" in health
            words = ("plan", models / "tiny", "--output", "json")
            plan = json.loads(run(installed / "echoplane", *words, cwd=tmp_path, address=address))
            assert "BertModel" in json.dumps(plan)
        finally:
            daemon.terminate()
            assert daemon.wait(30.0) == 0
    absent = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('pytest'))"
    assert run(installed / "python", "-c", absent, cwd=tmp_path).split() == ["None", "None"]
