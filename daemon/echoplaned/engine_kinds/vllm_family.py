"""What vLLM and Aphrodite, which is made of it, have in common.

Flags, variables, metrics, and the lines of a start.

Tried with vLLM 0.32 on CPUs; what changed before it was read in the wheels of 0.10.2, 0.12.0, 0.14.1, 0.17.1, 0.20.2, 0.24.0 and 0.28.0.
"""

from __future__ import annotations

from typing import Final

from echoplaned.core.facts import Dtype
from echoplaned.core.measure import Measure
from echoplaned.engine_kinds.flags import Changes, has, write_flags
from echoplaned.engine_kinds.foreign import Figure, FigureSource, FinalCause, Launch, LogStep, MetricNames, MetricSeries
from echoplaned.engine_kinds.kind import DEVICE_ORDER, Option, OptionType
from echoplaned.engine_kinds.python_builds import read_release
from echoplaned.engine_kinds.sizing_options import (
    BLOCK_SIZE,
    KV_DTYPE,
    LORA_ADAPTERS,
    LORA_RANK,
    MAX_BATCHED_TOKENS,
    PIPELINE_PARALLEL,
    TENSOR_PARALLEL,
    kv_dtype,
)

THREADS: Final = "threads"
SEED: Final = "seed"
EAGER: Final = "enforce_eager"

DTYPES: Final = frozenset({Dtype.FP32, Dtype.FP16, Dtype.BF16})
"""What weights are cast to at a load; anything else is served as it is stored."""

PACKED: Final = frozenset(
    {
        "auto-round", "auto_round", "awq", "awq_marlin", "bitsandbytes", "compressed-tensors", "experts_int8", "fbgemm_fp8",
        "fp8", "gptq", "gptq_marlin", "hqq", "intel/auto-round", "modelopt", "modelopt_fp4", "modelopt_fp8", "modelopt_mixed",
        "mxfp4", "quark", "torchao",
    }
)  # fmt: skip
"""How weights may be packed, by the method that a config names (vLLM 0.32, ``QUANTIZATION_METHODS``)."""

OPTIONS: Final = (
    kv_dtype("FP8", "INT8_PER_TOKEN_HEAD", "FP8_PER_TOKEN_HEAD"),
    TENSOR_PARALLEL,
    PIPELINE_PARALLEL,
    BLOCK_SIZE,
    MAX_BATCHED_TOKENS,
    LORA_ADAPTERS,
    LORA_RANK,
    Option(THREADS, "Threads of one step on a CPU.", OptionType.WHOLE_NUMBER, minimum=1, maximum=256, default="1"),
    Option(SEED, "Seed of sampling without one of its own.", OptionType.WHOLE_NUMBER, maximum=2**31 - 1, default="0"),
    Option(
        EAGER,
        "Whether graphs are neither captured nor compiled; on a CPU they never are.",
        OptionType.FLAG,
        default="0",
    ),
)
"""What a caller may set of either engine."""

HANDLERS: Final = (
    "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/v1/score", "/v1/rerank",
    "/pooling", "/classify", "/score", "/rerank", "/inference/v1/generate",
)  # fmt: skip
"""Routes whose answers count as requests; those of models, tokens and administration do not."""

_DTYPE_NAMES: Final = {Dtype.FP32: "float32", Dtype.FP16: "float16", Dtype.BF16: "bfloat16"}
# The first of these is not told by every release.
_FIGURES: Final = (
    (Figure.CACHE_TOKENS, "kv_cache_size_tokens"),
    (Figure.CACHE_BLOCKS, "num_gpu_blocks"),
    (Figure.CACHE_BYTES, "kv_cache_memory_bytes"),
)
_OWN_LIMIT_S: Final = 24 * 3600
"""Of the engine for its own start: the supervisor's limits count, which look at progress."""

DRAIN_S: Final = 60
"""How long the engine itself may finish what is in flight once it was told to end."""


def flags(launch: Launch, changes: Changes) -> tuple[str, ...]:
    """Return the command line behind the program.

    The program takes the checkpoint by ``--model``.
    """
    options = launch.options
    words: list[tuple[str, ...]] = [
        ("--model", str(launch.model)),
        ("--served-model-name", *launch.served_names),
        ("--dtype", _DTYPE_NAMES.get(launch.dtype, "auto")),
        ("--max-model-len", str(launch.context_length)),
        ("--max-num-seqs", str(launch.max_concurrency)),
        ("--tensor-parallel-size", options[TENSOR_PARALLEL.name]),
        ("--pipeline-parallel-size", options[PIPELINE_PARALLEL.name]),
        # Pickles are never read, and neither is the checkpoint's own code.
        ("--load-format", "safetensors"),
        # The checkpoint's own sampling would apply to whoever names none, and differ from one version to the next.
        ("--generation-config", "vllm"),
        ("--seed", options[SEED]),
        # Without it nobody knows what is in flight while the engine is stuck: its gauges are written by the very process that is.
        ("--enable-server-load-tracking",),
        ("--disable-uvicorn-access-log",),
        ("--shutdown-timeout", str(DRAIN_S)),
        *_memory_flags(launch),
        *_option_flags(launch),
        ("--uds", launch.socket) if launch.socket else ("--host", "127.0.0.1", "--port", str(launch.port)),
    ]
    return write_flags(words, changes, read_release(launch.build.metrics_version))


def _memory_flags(launch: Launch) -> list[tuple[str, ...]]:
    """Return the flags that bound the engine's memory.

    Explicit bytes of the cache end the engine's own measurement of what is free; its check of free memory at start stays.
    """
    found: list[tuple[str, ...]] = []
    if launch.kv_cache_bytes:
        # A plain number: with a letter behind it, some releases count by 1000 and some by 1024.
        found.append(("--kv-cache-memory-bytes", str(launch.kv_cache_bytes)))
    if launch.memory_share_ppm:
        found.append(("--gpu-memory-utilization", f"{launch.memory_share_ppm / 1_000_000:.4f}"))
    return found


def _option_flags(launch: Launch) -> list[tuple[str, ...]]:
    options, found = launch.options, list[tuple[str, ...]]()
    if options[KV_DTYPE].upper() != "AUTO":
        found.append(("--kv-cache-dtype", options[KV_DTYPE].lower()))
    if options[BLOCK_SIZE.name]:
        found.append(("--block-size", options[BLOCK_SIZE.name]))
    if options[MAX_BATCHED_TOKENS.name]:
        found.append(("--max-num-batched-tokens", options[MAX_BATCHED_TOKENS.name]))
    if options[LORA_ADAPTERS.name] != "0":
        found += [("--enable-lora",), ("--max-loras", options[LORA_ADAPTERS.name])]
        found.append(("--max-lora-rank", options[LORA_RANK.name] or "16"))
    if options[EAGER] == "1" or is_host(launch):
        found.append(("--enforce-eager",))
    return found


def is_host(launch: Launch) -> bool:
    """Whether it runs on CPUs."""
    return launch.device_id == "host"


def variables(launch: Launch, prefix: str, changes: Changes) -> dict[str, str]:
    """Return the variables that are set in the engine's environment.

    ``prefix`` begins the engine's own variables, of which nothing is passed.
    """
    cache = launch.cache_dir
    release = read_release(launch.build.metrics_version)
    found = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        f"{prefix}NO_USAGE_STATS": "1",
        f"{prefix}DO_NOT_TRACK": "1",
        # Without it the queue between its processes is announced on an address that others can reach.
        f"{prefix}HOST_IP": "127.0.0.1",
        # Caches: each process would compile the same again at every start, which takes minutes.
        f"{prefix}CACHE_ROOT": str(cache / "engine"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "PYTHONUNBUFFERED": "1",
        **bytecode_cache(launch),
    }
    ready = f"{prefix}ENGINE_READY_TIMEOUT_S"
    if has(changes, ready, release):
        found[ready] = str(_OWN_LIMIT_S)
    if not is_host(launch):
        return {**found, **DEVICE_ORDER, "CUDA_VISIBLE_DEVICES": visible_devices(launch)}
    # One function of the sampler is compiled in spite of --enforce-eager, at the first request for log-probabilities: two minutes in
    # which nothing else is answered.
    threads = launch.options[THREADS]
    return {
        **found,
        "TORCH_COMPILE_DISABLE": "1",
        "OMP_NUM_THREADS": threads,
        f"{prefix}CPU_OMP_THREADS_BIND": "nobind",
    }


def bytecode_cache(launch: Launch) -> dict[str, str]:
    """Return where Python keeps compiled modules, unless the installation has them.

    With a place of its own Python leaves those beside the modules alone, and compiles thousands of files again; without one, an
    environment that nobody may write into is compiled anew by every process of every start.
    """
    return {} if launch.build.has_bytecode else {"PYTHONPYCACHEPREFIX": str(launch.cache_dir / "bytecode")}


def visible_devices(launch: Launch) -> str:
    """Return the numbers of the devices as NVML counts, rank by rank.

    Commas are between them.
    """
    return ",".join(each.removeprefix("cuda:") for each in launch.device_ids)


def metric_names(prefix: str) -> MetricNames:
    """Return where the engine's numbers are on its Prometheus page.

    ``prefix`` is ``vllm:`` or ``aphrodite:``. What is read here is the same in every release.

    An answer over HTTP is no success: a stream that fails midway is a 200. What the scheduler ended well is. A request that fails in the
    engine and is no stream is counted twice, as an ``error`` and as a 5xx; a queue that is full is a 5xx alone.
    """
    ended = f"{prefix}request_success_total"

    def answers(status: str) -> MetricSeries:
        return MetricSeries("http_requests_total", (("status", (status,)), ("handler", HANDLERS)))

    return MetricNames(
        # Counted at every step of the scheduler. The gauges do not tell: a scheduler that is stopped before a request comes says 0.
        steps=(MetricSeries(f"{prefix}iteration_tokens_total_count"), MetricSeries(f"{prefix}generation_tokens_total")),
        running=(MetricSeries(f"{prefix}num_requests_running"),),
        waiting=(MetricSeries(f"{prefix}num_requests_waiting"),),
        ok=(MetricSeries(ended, (("finished_reason", ("stop", "length", "repetition")),)),),
        client_errors=(answers("4xx"),),
        server_errors=(answers("5xx"), MetricSeries(ended, (("finished_reason", ("error",)),))),
        histograms=(
            (Measure.FIRST_TOKEN, f"{prefix}time_to_first_token_seconds"),
            (Measure.INTER_TOKEN, f"{prefix}inter_token_latency_seconds"),
            (Measure.END_TO_END, f"{prefix}e2e_request_latency_seconds"),
        ),
        figures=tuple(FigureSource(figure, f"{prefix}cache_config_info", label) for figure, label in _FIGURES),
        prompt_tokens=(MetricSeries(f"{prefix}prompt_tokens_total"),),
        generated_tokens=(MetricSeries(f"{prefix}generation_tokens_total"),),
    )


STEPS: Final = (
    LogStep(r"Resolved architecture", "reading the configuration"),
    LogStep(r"Initializing a V1 LLM engine", "starting the engine's processes"),
    LogStep(r"Starting to load model", "loading the weights"),
    LogStep(r"Loading weights took|Model loading took", "weights loaded"),
    LogStep(r"KV cache size", "cache made"),
    LogStep(r"[Cc]aptur\w+ (?:CUDA )?graph|Graph capturing finished", "capturing graphs"),
    LogStep(r"init engine .* took", "warmed up"),
    LogStep(r"Starting \S+ server on|Application startup complete", "listening"),
)

CAUSES: Final = (
    FinalCause(
        r"Free memory on device .* is less than desired",
        "something else takes memory of the device",
        retryable=True,
    ),
    FinalCause(
        r"Error in memory profiling", "another process freed memory of the device while it was measured", retryable=True
    ),
    FinalCause(r"out of memory|OutOfMemoryError|Cannot allocate memory", retryable=True),
    FinalCause(
        r"No available memory for the cache blocks|larger than the available KV cache memory",
        "ask for a shorter context_length or a smaller max_concurrency",
    ),
    FinalCause(r"[Aa]ddress already in use", retryable=True),
    FinalCause(r"unrecognized arguments|invalid choice:|expected one argument", "this build has other flags"),
    FinalCause(r"HFValidationError|Repo id must", "the checkpoint's directory is not there any more"),
    FinalCause(r"does not appear to have a file named|is not a valid JSON file", "is it a whole checkpoint?"),
    FinalCause(
        r"[Mm]odel architectures? .* (?:are|is) not supported|has no vLLM implementation", "a newer build may serve it"
    ),
    FinalCause(r"trust_remote_code|custom code which must be executed", "the checkpoint's own code is never run"),
)

EXIT_CAUSES: Final = ((2, "the command line was refused: this build has other flags"),)

CAUSE_LINE: Final = r"(?:^|[\s\]])[A-Za-z_.]*(?:Error|Exception)\b(?!.*(?:initialization failed|See root cause))"
"""The exception's own line: the last one only says that a process failed to start, and its cause is before it."""
