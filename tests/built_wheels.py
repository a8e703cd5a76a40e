"""Our wheels, built once for a whole run of the tests, and environments that are made of them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
CONSTRAINTS = ROOT / "constraints.txt"


def run(*command: str | Path, cwd: Path = ROOT, address: str = "") -> str:
    """Run a command in an environment without what belongs to the tests' own; return what it printed.

    ``address``: of the daemon that it talks to.
    """
    environment = own_environment() | ({"ECHOPLANE_ADDRESS": address} if address else {})
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    )
    return done.stdout


def own_environment() -> dict[str, str]:
    """Return this process's environment without what belongs to the tests' own."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "ECHOPLANE_"))}


def build_wheels(factory: pytest.TempPathFactory) -> list[Path]:
    """Return the client's wheel and the daemon's, as ``make wheel`` builds them.

    The processes of one run share them: the first one builds, the others wait.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dist"
    with (folder.parent / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            run(UV, "build", "--quiet", "--wheel", "--out-dir", folder)
            run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, "clients/python")
            (folder / "built").touch()
    return sorted(folder.glob("*.whl"))


def make_environment(folder: Path, *packages: str | Path) -> Path:
    """Make a virtual environment with packages, in the versions that are tested; return its ``bin``."""
    run(UV, "venv", "--quiet", "--python", sys.executable, folder)
    install(folder / "bin", packages)
    return folder / "bin"


def install(binaries: Path, packages: Sequence[str | Path], *, alone: bool = False) -> None:
    """Install packages; ``alone``: without what they ask for."""
    words = ("--no-deps",) if alone else ()
    run(
        UV, "pip", "install", "--quiet", "--python", binaries / "python", "--constraint", CONSTRAINTS, *words, *packages
    )
