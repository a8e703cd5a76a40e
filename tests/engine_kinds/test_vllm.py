"""vLLM and Aphrodite as declared: command lines by release, what is set around them, their numbers and their last words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.facts import Dtype
from echoplaned.core.measure import Measure
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds import EngineKind, aphrodite, vllm
from echoplaned.engine_kinds.foreign import MetricNames, MetricSeries
from echoplaned.supervisor.metrics import read_page
from tests.engine_kinds.launches import foreign, launch, value_of, words_of

PAGE = (Path(__file__).parent / "pages" / "vllm-0.32.0.txt").read_text(encoding="utf-8")
"""Of a real engine: 6 answers, 7 requests that were the caller's mistake, and calls of other routes."""


def add_up(page: str, names: tuple[MetricSeries, ...]) -> float:
    """Add up a page's samples of these series."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return sum(
        sample.value
        for series in names
        for sample in samples
        if sample.name == series.name and all(sample.labels.get(label) in values for label, values in series.labels)
    )


@pytest.mark.parametrize("kind", [vllm.KIND, aphrodite.KIND])
def test_the_plan_becomes_the_command_line(kind: EngineKind) -> None:
    """Bytes, share, lengths and the socket are named in plain numbers; what the engine would choose by itself is not left to it."""
    words = words_of(kind, launch(kind, "0.32.0", "cuda:1"))
    told = {
        "--model": "/models/chat", "--dtype": "bfloat16", "--max-model-len": "4096", "--max-num-seqs": "8",
        "--kv-cache-memory-bytes": "1073741824", "--gpu-memory-utilization": "0.1235", "--uds": "/run/e.sock", "--seed": "0",
        "--generation-config": "vllm", "--load-format": "safetensors", "--shutdown-timeout": "60", "--tensor-parallel-size": "1",
    }  # fmt: skip
    assert {flag: value_of(words, flag) for flag in told} == told
    assert {"--enable-server-load-tracking", "--disable-uvicorn-access-log"} <= set(words)
    assert not {"--port", "--host", "--enforce-eager", "--enable-sleep-mode", "--trust-remote-code"} & set(words)
    at = words.index("--served-model-name")
    assert words[at + 1 : at + 3] == ("chat", "chat/v1")


@pytest.mark.parametrize(
    ("version", "has_timeout", "has_limit"),
    [
        ("0.10.2", False, False),
        ("0.14.1", False, True),
        ("0.17.1", False, True),
        ("0.20.2", True, True),
        ("0.32.0", True, True),
    ],
)
def test_a_release_is_passed_what_it_has(version: str, *, has_timeout: bool, has_limit: bool) -> None:
    """An unknown flag ends a start after a minute of imports, so it is never passed."""
    started = launch(vllm.KIND, version)
    assert ("--shutdown-timeout" in words_of(vllm.KIND, started)) is has_timeout
    assert ("VLLM_ENGINE_READY_TIMEOUT_S" in foreign(vllm.KIND).variables(started)) is has_limit


def test_options_become_flags() -> None:
    """Those that change memory are shared with the planner; adapters are switched on by their number."""
    options = {
        "kv_dtype": "fp8",
        "block_size": "32",
        "max_batched_tokens": "4096",
        "lora_adapters": "2",
        "lora_rank": "8",
    }
    words = words_of(vllm.KIND, launch(vllm.KIND, "0.32.0", "cuda:0", enforce_eager="1", **options))
    told = {"--kv-cache-dtype": "fp8", "--block-size": "32", "--max-num-batched-tokens": "4096", "--max-loras": "2"}
    assert {flag: value_of(words, flag) for flag in told} == told
    assert {"--enable-lora", "--enforce-eager"} <= set(words)
    plain = words_of(vllm.KIND, launch(vllm.KIND, "0.32.0", "cuda:0"))
    assert not {"--enable-lora", "--kv-cache-dtype", "--block-size", "--max-num-batched-tokens"} & set(plain)


def test_on_a_cpu_nothing_is_compiled() -> None:
    """The first request for log-probabilities would block the whole engine for two minutes."""
    started = launch(vllm.KIND, "0.32.0", threads="2")
    found = foreign(vllm.KIND).variables(started)
    assert (found["TORCH_COMPILE_DISABLE"], found["OMP_NUM_THREADS"]) == ("1", "2")
    assert "--enforce-eager" in words_of(vllm.KIND, started)
    assert "TORCH_COMPILE_DISABLE" not in foreign(vllm.KIND).variables(launch(vllm.KIND, "0.32.0", "cuda:0"))


@pytest.mark.parametrize(("kind", "prefix"), [(vllm.KIND, "VLLM_"), (aphrodite.KIND, "APHRODITE_")])
def test_an_engine_is_quiet_and_offline(kind: EngineKind, prefix: str) -> None:
    """It asks nobody for files, tells nobody of itself, listens on loopback, and keeps what it compiles."""
    found = foreign(kind).variables(launch(kind, "0.32.0", "cuda:1"))
    assert (found["HF_HUB_OFFLINE"], found[f"{prefix}NO_USAGE_STATS"], found[f"{prefix}HOST_IP"]) == (
        "1",
        "1",
        "127.0.0.1",
    )
    assert (found["CUDA_VISIBLE_DEVICES"], found["CUDA_DEVICE_ORDER"]) == ("1", "PCI_BUS_ID")
    assert all(
        found[name].startswith("/cache/") for name in (f"{prefix}CACHE_ROOT", "PYTHONPYCACHEPREFIX", "TRITON_CACHE_DIR")
    )
    split = launch(kind, "0.32.0", "cuda:2,cuda:0", tensor_parallel="2")
    assert foreign(kind).variables(split)["CUDA_VISIBLE_DEVICES"] == "2,0"
    assert value_of(words_of(kind, split), "--tensor-parallel-size") == "2"
    others = {"VLLM_", "APHRODITE_"} - {prefix}
    assert not any(name.startswith(tuple(others)) for name in found)


def test_bytecode_that_was_installed_is_used() -> None:
    """With a place of its own Python would leave it alone, and compile everything again."""
    started = launch(vllm.KIND, "0.32.0")
    compiled = replace(started, build=replace(started.build, has_bytecode=True))
    assert "PYTHONPYCACHEPREFIX" not in foreign(vllm.KIND).variables(compiled)


def test_numbers_are_found_on_a_recorded_page() -> None:
    """Answers, mistakes of callers and progress are those that were made; calls of other routes are none."""
    names = foreign(vllm.KIND).metric_names("0.32.0")
    assert add_up(PAGE, names.ok) == 6
    assert add_up(PAGE, names.client_errors) == 7
    assert add_up(PAGE, names.server_errors) == 0
    assert add_up(PAGE, names.steps) == 8 + 7
    assert (add_up(PAGE, names.running), add_up(PAGE, names.waiting)) == (0, 0)
    assert read_page(PAGE, names).tokens == TokenCounts(27, 7)
    failed = PAGE.replace('reason="error",model_name="tiny"} 0.0', 'reason="error",model_name="tiny"} 2.0')
    assert add_up(failed, names.server_errors) == 2


def test_its_cache_is_told_in_its_own_numbers() -> None:
    """Tokens, blocks and bytes are labels of one metric; a label that says None is no number, and a release may lack one."""
    names = vllm.metric_names("0.32.0")
    assert read_page(PAGE, names).figures == EngineFigures(0, 262_144, 2048, 1_073_741_824)
    older = PAGE.replace("kv_cache_size_tokens", "x").replace(
        'kv_cache_memory_bytes="1073741824"', 'kv_cache_memory_bytes="None"'
    )
    assert read_page(older, names).figures == EngineFigures(0, 0, 2048, 0)


def test_latencies_are_found_on_a_recorded_page() -> None:
    """Each measure has its histogram, with buckets, a sum and a count."""
    names = foreign(vllm.KIND).metric_names("0.32.0")
    found = dict(names.histograms)
    assert found.keys() == set(Measure)
    for name in found.values():
        for ending in ("_bucket", "_sum", "_count"):
            assert re.search(rf"^{name}{ending}{{", PAGE, re.MULTILINE)


def test_aphrodite_renames_all_of_it() -> None:
    """Its numbers are vLLM's under another prefix; those of its HTTP service have none."""

    def named(names: MetricNames) -> set[str]:
        counted = (*names.steps, *names.running, *names.waiting, *names.ok, *names.client_errors, *names.server_errors)
        return {series.name for series in counted} | {name for _, name in names.histograms}

    renamed = {name.replace("vllm:", "aphrodite:") for name in named(vllm.metric_names(""))}
    assert named(aphrodite.metric_names("")) == renamed


LAST_WORDS = {
    "ValueError: Free memory on device cuda:0 (3.10/79.11 GiB) on startup is less than desired GPU memory utilization": True,
    "AssertionError: Error in memory profiling. Initial free memory 70.1 GiB, current free memory 71.0 GiB.": True,
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB.": True,
    "OSError: [Errno 98] Address already in use": True,
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`": False,
    "ValueError: To serve at least one request, 8 GiB KV cache is needed, which is larger than the available KV cache memory": False,
    "api_server.py: error: unrecognized arguments: --shutdown-timeout 60": False,
    "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name'": False,
    "ValueError: Model architectures ['AbacusForCausalLM'] are not supported for now.": False,
}


@pytest.mark.parametrize("line", LAST_WORDS)
def test_a_cause_is_known_by_its_line(line: str) -> None:
    """What would end the next start too is told from what may be over by then."""
    causes = foreign(vllm.KIND).causes
    found = next((cause for cause in causes if re.search(cause.pattern, f"(EngineCore pid=7) ERROR {line}")), None)
    assert found is not None
    assert found.retryable is LAST_WORDS[line]


def test_the_exceptions_own_line_is_the_failure() -> None:
    """The last line only says that a process failed to start; the exception is before it."""
    line = re.compile(foreign(vllm.KIND).cause_line)
    assert line.search("(EngineCore pid=7) ERROR 11-30 12:00:00 [core.py:9] ValueError: head size 33 is not supported")
    assert line.search("KeyError: 'model.layers.0'")
    assert not line.search(
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    )
    assert not line.search("INFO 11-30 12:00:00 [api.py:1] Application startup complete.")


def test_weights_that_cannot_be_cast_are_taken_as_they_are() -> None:
    """INT8 is no dtype that it casts to."""
    assert Dtype.INT8 not in vllm.KIND.dtypes
    assert "awq" in vllm.KIND.packed
