"""A second host: a network namespace of its own, joined with this one by a cable."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

HERE = "198.18.77.1"
"""This host's address on the cable (a range for tests: https://www.rfc-editor.org/rfc/rfc2544)."""

_THERE = "198.18.77.2"


@dataclass(frozen=True, slots=True)
class SecondHost:
    """The other end of the cable.

    Attributes:
        name: of its network namespace.
    """

    name: str

    def run(self, *command: str, timeout_s: float = 100.0) -> str:
        """Run a command there; return what it printed, fail where it failed."""
        done = subprocess.run(self._inside(command), capture_output=True, text=True, check=False, timeout=timeout_s)
        assert done.returncode == 0, f"{done.returncode} {done.stdout} {done.stderr}"
        return done.stdout

    def answered(self, *command: str) -> bool:
        """Whether a command there ends well, where both may be right."""
        return subprocess.run(self._inside(command), capture_output=True, check=False, timeout=100.0).returncode == 0

    @contextlib.contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command there, with pipes; it is killed if it goes on after the block."""
        with subprocess.Popen(
            self._inside(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]


@contextlib.contextmanager
def second_host() -> Iterator[SecondHost]:
    """Make one; skip the test, with what was refused, where this machine does not let us."""
    name, here, there = f"ep{os.getpid()}", f"eph{os.getpid()}", f"ept{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("addr", "add", f"{HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        for line in (f"addr add {_THERE}/30 dev {there}", f"link set {there} up", "link set lo up"):
            _ip("-n", name, *line.split())
    except (OSError, subprocess.CalledProcessError) as error:
        _remove(name, here)
        said = getattr(error, "stderr", "") or error
        pytest.skip(f"no network namespace can be made here (it takes root and iproute2): {said}")
    try:
        yield SecondHost(name)
    finally:
        _remove(name, here)


def _ip(*arguments: str) -> None:
    program = shutil.which("ip")
    if program is None:
        raise FileNotFoundError("there is no ip")
    subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=20)


def _remove(name: str, here: str) -> None:
    for line in (["link", "del", here], ["netns", "del", name]):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _ip(*line)
