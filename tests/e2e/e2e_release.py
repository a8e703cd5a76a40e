"""An earlier release out of this repository's history, ready to run beside the code under test."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LIBRARY = "_allocator.abi3.so"


@dataclass(frozen=True, slots=True)
class Release:
    """The code of one commit, in a directory of its own.

    Attributes:
        commit: what it was made of.
        tree: the directory.
    """

    commit: str
    tree: Path

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The words before a command that make Python, and what it starts, import this release.

        PYTHONPATH comes before the editable installation of the code under test.
        """
        return ("env", f"PYTHONPATH={self.tree / 'daemon'}:{self.tree / 'clients/python/src'}")

    def file_of(self, module: str) -> Path:
        """Return where a module comes from in this release."""
        code = f"import {module}; print({module}.__file__)"
        done = subprocess.run(
            [*self.wrapper, sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
        )
        return Path(done.stdout.strip())


def take_release(commit: str, tree: Path) -> Release:
    """Write a commit's code into a directory, with its native module; skip where its history is not at hand.

    The module is built from the commit's own sources where these differ from today's, else today's is copied.
    """
    if shutil.which("git") is None or _git("cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
        pytest.skip(f"commit {commit} is not at hand: this needs git and a clone with its history")
    packed = _git("archive", commit, "daemon", "clients", "allocator_rs", "pyproject.toml", "README.md", "LICENSE")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(tree, filter="data")
    changed = _git("diff", "--quiet", commit, "--", "allocator_rs").returncode != 0
    shutil.copy(_build(tree) if changed else _installed(), tree / "daemon/echoplaned" / LIBRARY)
    return Release(commit, tree)


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [shutil.which("git") or "git", "-C", str(REPOSITORY), *words], capture_output=True, check=False
    )


def _installed() -> Path:
    """Return the native module of the code under test."""
    import echoplaned

    return Path(echoplaned.__file__).parent / LIBRARY


def _build(tree: Path) -> Path:
    """Build a release's native module, in a directory that later runs find again; return the library."""
    target = REPOSITORY / "allocator_rs/target/earlier-release"
    manifest = tree / "allocator_rs/binding/Cargo.toml"
    command = [
        shutil.which("cargo") or "cargo",
        "build",
        "--quiet",
        "--release",
        "--manifest-path",
        str(manifest),
        "--target-dir",
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (library,) = (target / "release").glob("lib*allocator*.so")
    return library
