"""README and docs are true: every command block is run in order, in shells as a reader has them, with and without a proxy."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

import pytest

from echoplaned.testing.daemon import free_port
from tests.e2e import e2e_system as e
from tests.e2e.e2e_listener import CountingListener
from tests.e2e.e2e_markdown import RUN, SHOWN, Block, commands_of, missing_line, read_blocks

ROOT: Final = Path(__file__).parents[2]
# Run elsewhere: docs/rest.md by test_rest.py, in front of the REST services.
_ELSEWHERE: Final = frozenset({ROOT / "docs/rest.md"})
DOCUMENTS: Final = [
    ROOT / "README.md",
    *sorted(set((ROOT / "docs").rglob("*.md")) - _ELSEWHERE),
    ROOT / "clients/python/README.md",
]
ALL_BLOCKS: Final = [
    block for path in DOCUMENTS for block in read_blocks(path.relative_to(ROOT), path.read_text(encoding="utf-8"))
]
BLOCKS: Final = [block for block in ALL_BLOCKS if block.language in RUN]
MAX_NOT_RUN: Final = 5
PORT: Final = 8470
GATEWAY_PORT: Final = 8480
BASH: Final = shutil.which("bash") or "/bin/bash"
BLOCK_S: Final = 300.0
"""Longest time of a block on a machine that is busy with other things; the longest takes about 25 s."""
SERVERS: Final = ("echoplaned serve", "make run")
NOISE: Final = ("Traceback (most recent call last)", "Warning:", "_pytree.py")
# What a developer may have set and a reader has not.
_OURS: Final = ("ECHOPLANE_", "GRPC_", "PYTHON", "PYTEST", "VIRTUAL_ENV")
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy")


class Reader:
    """Somebody who does what the documents say, block by block, in a copy of the repository.

    Attributes:
        done: how many of the blocks were run.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.done = 0
        self._folder = folder / "a reader's copy"
        self._folder.mkdir()
        for entry in ROOT.iterdir():
            if entry.name not in {".state", ".demo"}:
                (self._folder / entry.name).symlink_to(entry)
        self._terminal = folder / "terminal"
        self._server: subprocess.Popen[bytes] | None = None
        self._log = folder / "serve.log"
        # The documents' own ports, unless somebody has them on this machine, or another reader is about to take them.
        self._claims = {port: _claim(port) for port in (PORT, GATEWAY_PORT)}
        self._ports = {
            port: port if claim is not None and _is_free(port) else free_port() for port, claim in self._claims.items()
        }
        self._variables = variables
        if self._ports[PORT] != PORT:
            address = f"127.0.0.1:{self._ports[PORT]}"
            self._variables |= {"ECHOPLANE_ADDRESS": address, "ECHOPLANE_LISTEN": address}

    def read_to(self, block: Block) -> None:
        """Run every block up to this one that was not run yet."""
        last = BLOCKS.index(block)
        while self.done <= last:
            self.done += 1  # a block that fails is not run again by the tests of those after it
            if not BLOCKS[self.done - 1].not_run:
                self._run(BLOCKS[self.done - 1])

    def close(self) -> None:
        """End the server, its engines and its gateway, by the documents' own command, and let go of the ports."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGTERM)
            self._server.wait(30)
            self._shell(". .venv/bin/activate && echoplaned stop-engines --state-dir .state", fresh=True)
        for claim in self._claims.values():
            if claim is not None:
                claim.close()

    def _run(self, block: Block) -> None:
        text = block.text
        for port, own in self._ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        if any(server in text for server in SERVERS):
            self._serve(text)
        elif block.language == "console":
            for command, shown in commands_of(replace(block, text=text)):
                printed = self._shell(command, fresh=not block.same_terminal, may_fail=True)
                _compare(block, shown, printed)
        else:
            if block.language == "python":
                text = f". .venv/bin/activate\npython -c {shlex.quote(text)}"
            printed = self._shell(text, fresh=not block.same_terminal)
            if block.output is not None:
                _compare(block, block.output, printed)

    def _shell(self, text: str, *, fresh: bool, may_fail: bool = False) -> str:
        """Run a text in a shell that keeps its variables for the next one; return what it printed."""
        keep = f"trap 'export -p > {shlex.quote(str(self._terminal))}' EXIT"
        before = "" if fresh else f". {shlex.quote(str(self._terminal))}"
        script = "\n".join([*([] if may_fail else ["set -e"]), before, keep, text])
        done = subprocess.run(
            [BASH, "-c", script],
            cwd=self._folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=BLOCK_S,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"exit code {done.returncode}:\n{done.stdout}"
        noise = [line for line in done.stdout.splitlines() if any(each in line for each in NOISE)]
        assert not noise, "\n".join(noise)
        return done.stdout

    def _serve(self, text: str) -> None:
        """Start what runs until it is stopped, and wait until it answers."""
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [BASH, "-c", f"set -e\n{text}"],
                cwd=self._folder,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def answers() -> bool:
            assert self._server is not None
            assert self._server.poll() is None, self._log.read_text(encoding="utf-8")
            return not any(_is_free(port) for port in self._ports.values())

        e.eventually(answers, 60.0, "the daemon of the README, and its gateway")


def _claim(port: int) -> IO[str] | None:
    """Claim a port among all tests of this machine, until the file is closed; None: another one has it.

    Two readers in two processes would both find it free, and the one would then talk to the other's daemon.
    """
    path = Path(tempfile.gettempdir()) / f"echoplane-tests-port-{port}.lock"
    try:
        file = path.open("w", encoding="utf-8")
    except PermissionError:  # another user's
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _compare(block: Block, shown: list[str], printed: str) -> None:
    missing = missing_line(shown, printed.splitlines())
    assert missing is None, f"{block} does not show what is printed, from this line on: {missing}\n{printed}"


@pytest.fixture(scope="module", params=["plain", "proxy"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A reader on a plain machine, and one whose environment names a proxy that answers nobody."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(_OURS) and k not in _PROXIES}
    own = str(ROOT / ".venv/bin")
    plain["PATH"] = os.pathsep.join(each for each in plain["PATH"].split(os.pathsep) if each != own)
    plain["PYTHONIOENCODING"] = "utf-8"  # the documents show what a terminal of today shows
    # Sockets beneath the state directory need a short path, which a test's own folder is not.
    with CountingListener() as proxy, tempfile.TemporaryDirectory(prefix="ep-") as folder:
        if request.param == "proxy":
            plain |= dict.fromkeys(("http_proxy", "https_proxy"), f"http://127.0.0.1:{proxy.port}")
        reader = Reader(Path(folder).resolve(), plain)
        try:
            yield reader
        finally:
            reader.close()
        assert proxy.count == 0


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_runs(reader: Reader, block: Block) -> None:
    """A block of commands ends well and prints what the document shows; one that is not run is listed as skipped, with its reason."""
    if block.not_run:
        pytest.skip(f"{block}: {block.not_run}")
    if "grpcurl" in block.text and not os.environ.get("CI") and not _has_grpcurl():
        reader.done = max(reader.done, BLOCKS.index(block) + 1)
        pytest.skip(f"{block}: grpcurl needs Go; `make setup` builds it where Go is")
    reader.read_to(block)


def _has_grpcurl() -> bool:
    return (ROOT / ".venv/bin/grpcurl").exists() or shutil.which("grpcurl") is not None


def test_every_block_says_what_it_is() -> None:
    """Each has a language that tells commands from what is only shown; nothing is left out unseen."""
    unknown = [str(block) for block in ALL_BLOCKS if block.language not in RUN | SHOWN]
    assert not unknown, f"say sh, console, python or text behind the fence of {', '.join(unknown)}"


def test_few_blocks_are_not_run() -> None:
    """At most five, each with a reason."""
    left_out = [f"{block}: {block.not_run}" for block in BLOCKS if block.not_run]
    assert len(left_out) <= MAX_NOT_RUN, "\n".join(left_out)
