"""Good and bad versions of a chat model and of an embedding model, and how each is made bad.

The embedding model is on the embedded engine. The chat model is SmolLM2 on llama.cpp, or, where that binary does not run, a small decoder
with drawn weights on the embedded engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

import gguf
import numpy as np
import psutil

from benchmarks.door import running
from benchmarks.door.world import answers, end
from benchmarks.quickstart import ENGINE, model_file
from benchmarks.world import minilm, wait_until
from echoplane.v1 import models_pb2, rollouts_pb2, types_pb2
from echoplaned.testing.checkpoints import add_chat_template, cut64, perturb
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.worker_contract.record import read_records
from tests.e2e.e2e_system import Checkpoints

CHAT: Final = "chat"
EMBED: Final = "minilm"
KILLED, STOPPED, SLOWED = "killed", "stopped", "slowed"
_CONTEXTS: Final = (256, 384)
_SPOILT: Final = "ffn_down"
_BLOCK_BYTES: Final = 20
"""Of Q4_1: a scale and a least value in half precision, then 32 numbers of four bits."""

_SCALE: Final = 1.5
_SLOWED_S: Final = 2.0
_RUNS_S: Final = 0.02
"""Of every ``_SLOWED_S``: a hundredth of the speed, at which answers come after their callers' deadlines."""

_TRY_S: Final = 300.0
_NOISE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version to roll out.

    ``fault``: what is wrong with it; empty: nothing. ``engine``: empty: the embedded one. ``context``: 0: the checkpoint's own.
    ``options``: of the engine.
    """

    model: str
    version: str
    source: Path
    fault: str = ""
    engine: str = ""
    context: int = 0
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_struck(self) -> bool:
        """Whether it is good in itself, and its process is killed, stopped or slowed in the first stage."""
        return self.fault in {KILLED, STOPPED, SLOWED}

    def load(self) -> models_pb2.LoadModelRequest:
        """Return the request that loads it as the first version."""
        request = models_pb2.LoadModelRequest(
            model_id=self.model, version_id=self.version, source_uri=f"file:{self.source}"
        )
        if self.engine:
            request.engine, request.context_length, request.max_concurrency = self.engine, self.context, 4
        return request

    def update(self, policy: rollouts_pb2.RolloutPolicy) -> models_pb2.UpdateModelRequest:
        """Return the request that rolls it out."""
        request = models_pb2.UpdateModelRequest(
            model_id=self.model, version_id=self.version, source_uri=f"file:{self.source}", policy=policy,
            behaviour_change=types_pb2.BEHAVIOUR_CHANGE_EQUIVALENT,
        )  # fmt: skip
        if self.engine:
            request.engine, request.context_length, request.max_concurrency = self.engine, self.context, 4
            request.engine_options.update(dict(self.options))
        return request


@dataclass(frozen=True, slots=True)
class Sources:
    """What the versions are loaded from.

    Paths by what is wrong with them; the empty name: nothing is. ``engine``: of the chat model; empty: the embedded one.
    """

    chat: dict[str, Path]
    embed: dict[str, Path]
    engine: str

    @property
    def roots(self) -> tuple[Path, ...]:
        """Directories that the daemon may load from."""
        return tuple({path.parent for path in (*self.chat.values(), *self.embed.values())})

    def candidates(self, model: str, count: int) -> list[Candidate]:
        """Return so many versions of a model, good and bad by turns, the faults by turns too."""
        paths = self.chat if model == CHAT else self.embed
        faults = cycle([fault for fault in paths if fault not in {"", "better"}] + [KILLED, STOPPED])
        goods = cycle([fault for fault in ("better", "") if fault in paths])
        made = []
        for number in range(1, count + 1):
            fault = "" if number % 2 else next(faults)
            source = paths.get(fault, paths[""]) if fault else paths[next(goods)]
            made.append(self._candidate(model, f"v{number}", source, fault, _CONTEXTS[1]))
        return made

    def first(self, model: str) -> Candidate:
        """Return the version that serves at first."""
        paths = self.chat if model == CHAT else self.embed
        return self._candidate(model, "v0", paths[""], "", _CONTEXTS[0])

    def _candidate(self, model: str, version: str, source: Path, fault: str, context: int) -> Candidate:
        if model == CHAT and self.engine:
            return Candidate(model, version, source, fault, self.engine, context)
        return Candidate(model, version, source, fault)


def make_sources(folder: Path) -> Sources:
    """Write every bad version into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if llama_runs(folder):
        chat, engine = {"": model_file(), "wrong quantisation": spoil(model_file(), folder / "spoilt.gguf")}, ENGINE
    else:
        chat, engine = _small_chats(folder), ""
    source = minilm()
    embed = {
        "": source,
        "better": perturb(source, folder / "better", scale=1e-3),
        "cut to 64 tokens": cut64(source, folder / "cut64"),
        "noisy weights": perturb(source, folder / "noisy", scale=_NOISE),
    }
    return Sources(chat, embed, engine)


def llama_runs(folder: Path) -> bool:
    """Whether llama-server answers a chat here: a build for another processor dies at its first product of matrices."""
    server = next(Path(sys.prefix).glob("lib/python3*/site-packages/*/bin/llama-server"), None)
    if server is None:
        return False
    port, log = free_port(), folder / "llama-server.log"
    words = [
        str(server),
        "--model",
        str(model_file()),
        "--port",
        str(port),
        "--offline",
        "--no-ui",
        "--ctx-size",
        "256",
    ]
    variables = {"LD_LIBRARY_PATH": str(server.parent), "PATH": os.environ.get("PATH", "")}
    with log.open("wb") as output:
        process = subprocess.Popen(words, env=variables, stdout=output, stderr=output)
    try:
        wait_until(
            lambda: process.poll() is not None or answers(f"127.0.0.1:{port}"),
            _TRY_S,
            "llama-server neither answered nor died",
        )
        if process.poll() is None:
            return True
    finally:
        end(process)
    said = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    running.say(f"llama-server does not run here ({said}): the chat model is a small decoder on the embedded engine")
    return False


def _small_chats(folder: Path) -> dict[str, Path]:
    """Write a small decoder that chats, one a little better trained, and one with two layers swapped."""
    plain = Checkpoints(folder)
    better = perturb(plain.path("speaking"), folder / "chat-better", scale=1e-4)
    sources = {"": plain.path("speaking"), "better": better, "swapped layers": plain.path("swapped")}
    return {fault: add_chat_template(path, folder / f"chatting-{path.name}") for fault, path in sources.items()}


def spoil(source: Path, out: Path) -> Path:
    """Copy a GGUF file with wrong scales in some of its tensors, as a faulty quantisation writes them."""
    out.write_bytes(source.read_bytes())
    wrong = [
        tensor
        for tensor in gguf.GGUFReader(source).tensors
        if _SPOILT in tensor.name and tensor.tensor_type == gguf.GGMLQuantizationType.Q4_1
    ]
    if not wrong:
        raise ValueError(f"{source.name} has no tensors in Q4_1")
    for tensor in wrong:
        shape = (int(tensor.n_bytes) // _BLOCK_BYTES, _BLOCK_BYTES // 2)
        blocks = np.memmap(out, np.float16, "r+", int(tensor.data_offset), shape)
        blocks[:, 0] *= np.float16(_SCALE)
        blocks.flush()
    return out


def strike(daemon: DaemonProcess, candidate: Candidate) -> None:
    """Kill or stop every process of a version's engine, or slow the engine itself down."""
    for record in read_records(daemon.state_dir):
        if record.instance.startswith(f"{candidate.model}/{candidate.version}#"):
            leader = psutil.Process(record.pid)
            engine = leader.children(recursive=True)
            if candidate.fault == SLOWED:
                threading.Thread(target=_slow_down, args=(engine,), daemon=True).start()
                continue
            number = signal.SIGKILL if candidate.fault == KILLED else signal.SIGSTOP
            for each in (*engine, leader):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(number)


def _slow_down(processes: Sequence[psutil.Process]) -> None:
    """Let processes run for a small share of the time, until they end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while True:
            for number, seconds in ((signal.SIGSTOP, _SLOWED_S - _RUNS_S), (signal.SIGCONT, _RUNS_S)):
                for each in processes:
                    each.send_signal(number)
                time.sleep(seconds)
