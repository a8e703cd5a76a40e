"""Our command lines through the engines' own parsers: every flag exists, and takes what we give it (``make test-engines``)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from echoplaned.engine_kinds import EngineKind, aphrodite, sglang, vllm
from tests.engine_kinds.launches import launch, words_of

pytestmark = pytest.mark.engines

OPTIONS = {"kv_dtype": "FP8", "block_size": "32", "max_batched_tokens": "4096"}
ADAPTERS = {"lora_adapters": "2", "lora_rank": "16", "enforce_eager": "1"}
COMMON = {"dtype": "bfloat16", "load_format": "safetensors"}

VLLM_FAMILY = """
import json, sys
from {name}.entrypoints.launchers.cli_args import make_arg_parser
from {name}.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
"""
SGLANG = """
import argparse, json, sys
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
"""
PARSE = "print(json.dumps(vars(parser.parse_args(json.load(sys.stdin))), default=str))"


def parse(code: str, words: tuple[str, ...], folders: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what an engine's parser makes of a command line."""
    where = os.environ.get("ECHOPLANE_TEST_ENGINES")
    if where is None:
        pytest.skip("needs the engines that `make test-engines` installs")
    root = Path(where)
    path = os.pathsep.join(str(root / folder) for folder in folders)
    environment = {**os.environ, "PYTHONPATH": path, "APHRODITE_TARGET_DEVICE": "cpu", "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [root / "vllm" / "bin" / "python", "-c", code + PARSE],
        input=json.dumps(words),
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("kind", "version", "folders"), [(vllm.KIND, "0.32.0", ()), (aphrodite.KIND, "0.24.1", ("aphrodite",))]
)
def test_vllm_and_aphrodite_take_our_command_line(kind: EngineKind, version: str, folders: tuple[str, ...]) -> None:
    """What they read of it is what the plan says."""
    words = words_of(kind, launch(kind, version, "cuda:0", **OPTIONS, **ADAPTERS))
    found = parse(VLLM_FAMILY.format(name=kind.name), words, folders)
    told = COMMON | {
        "model": "/models/chat", "served_model_name": ["chat", "chat/v1"], "max_model_len": 4096, "max_num_seqs": 8,
        "kv_cache_memory_bytes": 1_073_741_824, "gpu_memory_utilization": 0.1235, "uds": "/run/e.sock", "seed": 0,
        "generation_config": "vllm", "shutdown_timeout": 60, "enable_server_load_tracking": True, "enforce_eager": True,
        "disable_uvicorn_access_log": True, "kv_cache_dtype": "fp8", "block_size": 32, "max_num_batched_tokens": 4096,
        "enable_lora": True, "max_loras": 2, "max_lora_rank": 16,
    }  # fmt: skip
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize("device", ["host", "cuda:0"])
def test_sglang_takes_our_command_line(device: str) -> None:
    """What it reads of it is what the plan says."""
    words = words_of(sglang.KIND, launch(sglang.KIND, "0.5.23", device, **OPTIONS))
    found = parse(SGLANG, words, ("stubs", "sglang"))
    told = COMMON | {
        "model_path": "/models/chat", "served_model_name": "chat", "context_length": 4096, "max_running_requests": 8,
        "max_total_tokens": 32_768, "page_size": 32, "kv_cache_dtype": "fp8_e4m3", "chunked_prefill_size": 4096, "port": 8123,
        "host": "127.0.0.1", "enable_metrics": True, "random_seed": 0, "sampling_defaults": "openai", "log_level_http": "warning",
    }  # fmt: skip
    assert {name: found[name] for name in told} == told


def test_a_flag_that_a_build_lacks_ends_with_two() -> None:
    """That is what the declaration knows a final cause by."""
    with pytest.raises(AssertionError, match="unrecognized arguments: --abacus"):
        parse(VLLM_FAMILY.format(name="vllm"), ("--abacus",))
