"""Tokens by version from the real engines' own counters, over the deaths of engines and of daemons."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from echoplane import Client
from echoplane.v1 import diagnostics_pb2, models_pb2
from echoplaned.core.endpoints import openai_endpoint
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.worker_contract.record import WorkerPhase, read_records
from tests.e2e import e2e_system as e
from tests.engines.llama_parts import command_setting, model_file, server_file

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "talk"
VERSION = f"models/{MODEL}/versions/v1"
CHATS = 12
LATE_S = 30.0
"""Reports come twice a second, pages of metrics once; the rest is for a busy machine."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that were asked for, or are told.

    Attributes:
        prompt: of the prompts.
        generated: of the answers.
    """

    prompt: int
    generated: int


@dataclass(frozen=True, slots=True)
class TokenSystem:
    """A daemon with one model on one engine.

    Attributes:
        daemon: the daemon.
        load: how the model is loaded.
        metrics_port: where its metrics are.
    """

    daemon: DaemonProcess
    load: dict[str, Any]
    metrics_port: int

    def start(self) -> None:
        """Load the model."""
        with Client(self.daemon.address) as client:
            request = models_pb2.LoadModelRequest(model_id=MODEL, version_id="v1", **self.load)
            client.wait(client.load_model(request), e.LOAD_S)

    def usage(self) -> diagnostics_pb2.GetUsageResponse:
        """Ask for the model's usage."""
        with Client(self.daemon.address) as client:
            return client.get_usage(MODEL)

    def metrics(self) -> str:
        """Return the daemon's metrics."""
        return httpx2.get(f"http://127.0.0.1:{self.metrics_port}/metrics", trust_env=False).text

    def told(self) -> Tokens:
        """Return what GetUsage says; every engine that this is for counts tokens."""
        found = self.usage()
        assert not found.uncounted_versions, found
        (tokens,) = found.tokens
        assert tokens.version == VERSION
        return Tokens(tokens.prompt_count, tokens.generated_count)

    def leader(self) -> int:
        """Return the process that leads the engine which serves; 0: none does."""
        ready = [each for each in read_records(self.daemon.state_dir) if each.phase is WorkerPhase.READY]
        return next((each.pid for each in ready if psutil.pid_exists(each.pid)), 0)

    def chat(self, name: str) -> Tokens:
        """Chat on the engine's own socket, each time about something else; return what the answers say of tokens."""
        (record,) = [each for each in read_records(self.daemon.state_dir) if each.phase is WorkerPhase.READY]
        endpoint = openai_endpoint(record.endpoints)
        assert endpoint is not None
        transport = None if endpoint.is_tcp else httpx2.HTTPTransport(uds=endpoint.target.removeprefix("unix:"))
        url = f"http://{endpoint.target if endpoint.is_tcp else 'engine'}"
        prompt = generated = 0
        with httpx2.Client(transport=transport, base_url=url, timeout=60.0, trust_env=False) as http:
            for number in range(CHATS):
                messages = [{"role": "user", "content": f"{number} {name}: {'the river and the sea ' * 4}"}]
                # llama-server counts the tokens of a prompt that it computes, and would not compute the same beginning again.
                fresh = {"cache_prompt": False} if "engine" in self.load else {}
                body = {"model": MODEL, "messages": messages, "max_tokens": 24, "temperature": 0, **fresh}
                answer = http.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                usage = answer.json()["usage"]
                prompt, generated = prompt + usage["prompt_tokens"], generated + usage["completion_tokens"]
        assert prompt > 20 * CHATS
        return Tokens(prompt, generated)

    def check_grown(self, before: Tokens, asked: Tokens) -> Tokens:
        """Wait until what was asked for is told; return what is told then, which has the daemon's own probes in it, and nothing twice."""

        def there() -> Tokens | None:
            now = self.told()
            is_told = now.prompt >= before.prompt + asked.prompt and now.generated >= before.generated + asked.generated
            return now if is_told else None

        now = e.eventually(there, LATE_S, f"{asked} on top of {before}, not {self.told()}")
        assert now is not None
        assert now.prompt < before.prompt + 1.5 * asked.prompt
        assert now.generated < before.generated + 1.5 * asked.generated + 40
        return now


def embedded(root: Path) -> tuple[tuple[Path, ...], tuple[str, ...], dict[str, Any]]:
    """Return roots, arguments and load of the embedded engine."""
    checkpoints.add_chat_template(checkpoints.make_decoder(root / "plain"), root / "chatting")
    return (root,), (), {"source_uri": "file:chatting", "context_length": 200}


def llama_cpp(root: Path) -> tuple[tuple[Path, ...], tuple[str, ...], dict[str, Any]]:
    """Return roots, arguments and load of llama-server."""
    del root
    server_file()
    load = {"source_uri": f"file:{model_file()}", "engine": "llama_cpp", "context_length": 256, "max_concurrency": 2}
    return (model_file().parent,), ("--engine", f"llama_cpp={sys.prefix}"), load


@contextmanager
def running(make: Any) -> Iterator[TokenSystem]:
    """Run a daemon in a folder whose path leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        roots, arguments, load = make(root)
        port = free_port()
        daemon = DaemonProcess(root / "state", roots, (*arguments, "--metrics-listen", f"127.0.0.1:{port}"))
        try:
            daemon.start(300.0)
            yield TokenSystem(daemon, load, port)
        finally:
            daemon.clean()


@pytest.mark.parametrize(
    "make", [embedded, pytest.param(llama_cpp, marks=pytest.mark.soak)], ids=["embedded", "llama_cpp"]
)
def test_tokens_are_the_engines_own(make: Any) -> None:
    """What answers say is what is told, beside probes; the deaths of daemon and engine and a restart take nothing and add nothing."""
    with running(make) as system:
        system.start()
        e.eventually(lambda: system.usage().tokens, LATE_S, "the first count")
        told = system.check_grown(system.told(), system.chat("one"))
        # Killed, with requests while it is away: the next daemon adopts the engine and adds what it counted meanwhile.
        system.daemon.kill()
        asked, leader = system.chat("away"), system.leader()
        system.daemon.start(300.0)
        told = system.check_grown(told, asked)
        assert system.leader() == leader, "it was adopted"
        # The engine's counters begin at 0 again.
        os.kill(leader, signal.SIGKILL)
        e.eventually(lambda: system.leader() not in {0, leader}, e.LOAD_S, "another engine")
        after = system.told()
        assert after.prompt >= told.prompt
        assert after.generated >= told.generated
        told = system.check_grown(after, system.chat("again"))
        assert system.daemon.stop() == 0
        system.daemon.start(300.0)
        again = system.told()
        assert told.prompt <= again.prompt < 1.5 * told.prompt
        assert f'echoplane_engine_generated_tokens_total{{model="{MODEL}",version="v1"}}' in system.metrics()


def command(root: Path) -> tuple[tuple[Path, ...], tuple[str, ...], dict[str, Any]]:
    """Return roots, arguments and load of the same server as any command, whose metrics nobody reads."""
    del root
    options = {"memory_bytes": "700000000"}
    load = {"source_uri": f"file:{model_file()}", "engine": "command", "context_length": 256, "engine_options": options}
    return (model_file().parent,), ("--engine", command_setting()), load


def test_an_engine_that_counts_none_is_named() -> None:
    """Its tokens are not counted: it has no count, and no metric, which would read as zero."""
    with running(command) as system:
        system.start()
        system.chat("one")
        e.eventually(lambda: list(system.usage().uncounted_versions) == [VERSION], LATE_S, "its name")
        assert not system.usage().tokens
        assert "tokens_total" not in system.metrics()
