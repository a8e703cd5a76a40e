"""Starts of engines, for tests of their declarations."""

from __future__ import annotations

from pathlib import Path

from echoplaned.core.facts import Dtype, Task
from echoplaned.engine_kinds import EngineKind
from echoplaned.engine_kinds.foreign import Build, ForeignEngine, Launch, Listen

MODEL = Path("/models/chat")


def foreign(kind: EngineKind) -> ForeignEngine:
    """Return how the supervisor handles a kind."""
    assert kind.foreign is not None
    return kind.foreign


def launch(kind: EngineKind, version: str, device: str = "host", **options: str) -> Launch:
    """Return a start with everything in it that a plan may name; ``device`` names its devices, with commas between."""
    on_socket = foreign(kind).listens is Listen.SOCKET
    return Launch(
        build=Build(version, ("/env/bin/python", "-m", "engine"), metrics_version=version),
        model=MODEL,
        served_names=("chat", "chat/v1"),
        task=Task.GENERATION,
        dtype=Dtype.BF16,
        context_length=4096,
        max_concurrency=8,
        device_ids=tuple(device.split(",")),
        options=kind.read_options(options),
        socket="/run/e.sock" if on_socket else "",
        port=0 if on_socket else 8123,
        kv_cache_bytes=1_073_741_824,
        memory_share_ppm=123_456,
        cache_dir=Path("/cache"),
        scratch_dir=Path("/scratch"),
    )


def words_of(kind: EngineKind, started: Launch) -> tuple[str, ...]:
    """Return a start's command line behind the program."""
    program = started.build.program
    arguments = foreign(kind).arguments(started)
    assert arguments[: len(program)] == program
    return arguments[len(program) :]


def value_of(words: tuple[str, ...], flag: str) -> str:
    """Return the word behind a flag."""
    return words[words.index(flag) + 1]
