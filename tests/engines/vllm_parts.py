"""The real vLLM of ``make test-engines`` on a small Llama with random weights, for tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ServingShape, VersionSpec
from echoplaned.engine_kinds import KINDS, EngineKind
from echoplaned.engine_kinds.configured import configure
from echoplaned.testing.checkpoints import DecoderShape, add_chat_template, make_decoder
from tests.e2e.e2e_system import change_tensors

MIB = 1024 * 1024
CONTEXT = 256
START_S = 1500.0
"""Longest wait for a start: some hundred seconds of CPU, on a machine that may be shared by many."""

SHAPE = DecoderShape(layers=4, width=128, heads=4, kv_heads=4, feed_forward=256, positions=512)
"""Heads of 32: vLLM's kernels for CPUs have no smaller ones."""

_MIDDLE = {"model.layers.1.": "model.layers.2.", "model.layers.2.": "model.layers.1."}
_CORE = "EngineCore"


def vllm_prefix() -> str:
    """Return where vLLM is installed."""
    where = os.environ.get("ECHOPLANE_TEST_ENGINES")
    if where is None:
        pytest.skip("needs the engines that `make test-engines` installs")
    return f"{where}/vllm"


def vllm_kind() -> EngineKind:
    """Return vLLM as it is installed."""
    return configure(f"vllm={vllm_prefix()}", KINDS)


def make_model(out: Path) -> Path:
    """Write a Llama in which every layer has a say, as in a trained one, and that chats."""
    plain = make_decoder(out.with_name(f"{out.name}-plain"), shape=SHAPE)

    def raise_voices(weights: dict[str, Any]) -> None:
        heard = {name: 2 * w for name, w in weights.items() if w.ndim == 2 and name != "lm_head.weight"}
        weights.update(heard)

    change_tensors(plain, raise_voices)
    return add_chat_template(plain, out)


def swap_layers(source: Path, out: Path) -> Path:
    """Copy a model with its two middle layers swapped."""
    shutil.copytree(source, out)

    def swap(weights: dict[str, Any]) -> None:
        moved = {name: weights[_MIDDLE[name[:15]] + name[15:]] for name in weights if name[:15] in _MIDDLE}
        weights.update(moved)

    change_tensors(out, swap)
    return out


def vllm_spec(kind: EngineKind, model: Path) -> VersionSpec:
    """Return a version of the model."""
    return VersionSpec(model.as_uri(), str(model), "", ServingShape(Dtype.FP32, CONTEXT, 2, kind.name))


def core_of(leader_pid: int) -> psutil.Process:
    """Return the process in which an engine computes, or that tells others to, by the title that it gives itself."""
    children = psutil.Process(leader_pid).children(recursive=True)
    (found,) = [each for each in children if any(_CORE in word for word in each.cmdline())]
    return found


def cpu_s(leader_pid: int) -> float:
    """Return the processor seconds that a leader and its family have taken, those of ended children included."""
    leader = psutil.Process(leader_pid)
    times = [each.cpu_times() for each in (leader, *leader.children(recursive=True))]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)
