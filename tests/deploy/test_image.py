"""The image's steps, run here as a script in fresh folders: no image can be built where there is no container daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.built_wheels import ROOT, own_environment
from tests.deploy.dockerfile import Instruction, read_dockerfile
from tests.e2e.e2e_system import eventually

DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = DEPLOY / "Dockerfile"
SHELL: Final = "/bin/sh"

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def steps() -> list[Instruction]:
    """The Dockerfile's instructions."""
    return read_dockerfile(DOCKERFILE)


def run_step(step: Instruction, places: dict[str, Path], **arguments: str) -> None:
    """Run a RUN instruction with the image's paths put beneath others, and with build arguments."""
    text = step.text
    for path in sorted(places, key=len, reverse=True):
        text = text.replace(path, f"'{places[path]}'")
    environment = own_environment() | arguments | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    interpreter = Path(sys.executable).resolve().parent  # an image has one Python, and no environment around it
    environment["PATH"] = f"{interpreter}:{environment['PATH']}"
    done = subprocess.run(
        [SHELL, "-c", text],
        cwd=places.get("/source", ROOT),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


def test_hadolint_has_nothing_to_say() -> None:
    """Not even in the parts that shell commands are; the scripts are plain sh."""
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    for script in sorted(DEPLOY.glob("*.sh")):
        assert os.access(script, os.X_OK)
        assert subprocess.run([SHELL, "-n", script], check=False).returncode == 0


def test_it_is_slim_and_nobodys(steps: list[Instruction]) -> None:
    """A slim base, a numbered user that is not root, a health check, no torch unless it is asked for."""
    last = max(step.stage for step in steps)
    final = {step.name: step for step in steps if step.stage == last}
    assert all("-slim" in step.text for step in steps if step.name == "ARG" and step.stage == 0)
    assert final["FROM"].text == "python:${PYTHON}"
    user, _, group = final["USER"].text.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert final["HEALTHCHECK"].words == ["echoplane", "health"]
    extras = next(step.text for step in steps if step.name == "ARG" and step.text.startswith("EXTRAS="))
    assert extras == "EXTRAS=gateway"
    owned = next(step.text for step in steps if step.name == "RUN" and "install -d" in step.text)
    assert f"-o {user} -g {group} /var/lib/echoplane" in owned


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, steps: list[Instruction]) -> Path:
    """What the builder's RUN makes of the build context that the ignore file leaves, in a folder of its own."""
    folder = tmp_path_factory.mktemp("builder")
    source = folder / "source"
    patterns = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in patterns if line.startswith("!")]
    left_out = shutil.ignore_patterns(*(line.removeprefix("**/") for line in patterns if line.startswith("**/")))
    source.mkdir()
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=left_out)
        else:
            shutil.copy(ROOT / name, source)
    build = next(step for step in steps if step.name == "RUN" and "build-wheels.sh" in step.text)
    # What was compiled here already: another place changes nothing of it.
    target = str(ROOT / "allocator_rs/target")
    run_step(build, {"/source": source, "/wheels": folder / "wheels"}, CARGO_TARGET_DIR=target)
    return folder / "wheels"


def test_the_builder_makes_both_wheels(wheels: Path) -> None:
    """The client's and the daemon's, and nothing else."""
    names = sorted(path.name.partition("-")[0] for path in wheels.glob("*.whl"))
    assert names == ["echoplane", "echoplaned"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, steps: list[Instruction], wheels: Path) -> Path:
    """What the last stage's RUN makes of the wheels, in a folder of its own."""
    prefix = tmp_path_factory.mktemp("image") / "opt" / "echoplane"
    prefix.parent.mkdir()
    places = {
        "/build/install.sh": DEPLOY / "install.sh",
        "/build/constraints.txt": ROOT / "constraints.txt",
        "/build/wheels": wheels,
        "/opt/echoplane": prefix,
    }
    step = next(step for step in steps if step.name == "RUN" and "install.sh" in step.text)
    run_step(step, places, EXTRAS="gateway", ENGINE_PACKAGES="")
    return prefix


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as sockets lie beneath it."""
    with tempfile.TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def test_the_image_starts_answers_its_health_check_and_ends(image: Path, home: Path, steps: list[Instruction]) -> None:
    """By its own ENTRYPOINT, CMD, ENV and HEALTHCHECK; SIGTERM, which a container's stop is, ends it with 0."""
    final = {step.name: step for step in steps}
    (home / "models").mkdir()
    places = {"/var/lib/echoplane": str(home), "/models": str(home / "models")}
    command = [*final["ENTRYPOINT"].words, *final["CMD"].words]
    command = [places.get(word, word.replace("/var/lib/echoplane", str(home))) for word in command]
    listen, gateway = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environment = own_environment() | {
        "PATH": f"{image / 'bin'}:/usr/bin:/bin",
        "HOME": str(home),
        "ECHOPLANE_LISTEN": listen,
        "ECHOPLANE_GATEWAY_LISTEN": gateway,
        "ECHOPLANE_ADDRESS": listen,
    }
    health: list[str | Path] = [image / "bin" / final["HEALTHCHECK"].words[0], *final["HEALTHCHECK"].words[1:]]
    daemon = DaemonProcess(home / "state", ())
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, executable=image / "bin" / command[0], cwd=home, env=environment, stdout=log, stderr=log
        )
    try:

        def is_healthy() -> bool:
            assert process.poll() is None, (home / "log").read_text(encoding="utf-8")
            return subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0

        eventually(is_healthy, 120.0, "the image's health check", poll_s=1.0)
        eventually(lambda: "the gateway serves HTTP" in (home / "log").read_text(encoding="utf-8"), 60.0, "its gateway")
        process.terminate()
        assert process.wait(60) == 0
        assert subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 1
    finally:
        process.kill()
        process.wait()
        daemon.clean()
