"""The engine SGLang, from 0.5.6: safetensors, on a port.

It was never run here: flags, routes and metrics were read in 0.5.6, 0.5.12 and 0.5.23.
"""

from __future__ import annotations

from typing import Final

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.measure import Measure
from echoplaned.engine_kinds.flags import Change, Changes, has, table, write_flags
from echoplaned.engine_kinds.foreign import (
    Build,
    Dialect,
    Figure,
    FigureSource,
    FinalCause,
    ForeignEngine,
    Launch,
    Listen,
    LogStep,
    MetricNames,
    MetricSeries,
    ScoringMethod,
)
from echoplaned.engine_kinds.kind import DEVICE_ORDER, EngineKind, KindLimits, Option, OptionType
from echoplaned.engine_kinds.python_builds import PythonEngine, find_python_build, read_release
from echoplaned.engine_kinds.sizing_options import (
    BLOCK_SIZE,
    KV_DTYPE,
    MAX_BATCHED_TOKENS,
    PIPELINE_PARALLEL,
    TENSOR_PARALLEL,
    kv_dtype,
)
from echoplaned.engine_kinds.vllm_family import CAUSE_LINE, EXIT_CAUSES, PACKED, SEED, bytecode_cache, visible_devices

NAME: Final = "sglang"

ENGINE: Final = PythonEngine(
    name="SGLang",
    distributions=("sglang",),
    module=("-m", "sglang.launch_server"),
    oldest=(0, 5, 6),
    listens=Listen.TCP,
)

_REALTIME: Final = "sglang:realtime_tokens_total"
_RESPONSES: Final = "sglang:http_responses_total"

CHANGES: Final[Changes] = table(
    Change(_REALTIME, since=(0, 5, 12)),
    Change(_RESPONSES, since=(0, 5, 12)),
)
"""What is not in every release since the oldest; every flag that is passed is in all three that were looked at."""

ENDPOINTS: Final = (
    "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/v1/score", "/v1/rerank",
    "/generate", "/encode", "/classify",
)  # fmt: skip
"""Routes whose answers count as requests."""

_CLIENT_ERRORS: Final = tuple(str(code) for code in range(400, 500))
_SERVER_ERRORS: Final = tuple(str(code) for code in range(500, 600))
_DTYPE_NAMES: Final = {Dtype.FP32: "float32", Dtype.FP16: "float16", Dtype.BF16: "bfloat16"}
_KV_DTYPES: Final = {"BF16": "bfloat16", "FP8": "fp8_e4m3"}
_LOG_EVERY_STEPS: Final = 10
_WATCHDOG_S: Final = 24 * 3600


def find_build(prefix: str) -> Build:
    """Find the package in an environment.

    Raises:
        EngineMissingError: it is not there, or too old.
    """
    return find_python_build(ENGINE, prefix)


def arguments(launch: Launch) -> tuple[str, ...]:
    """Return the command line."""
    options = launch.options
    words: list[tuple[str, ...]] = [
        ("--model-path", str(launch.model)),
        ("--served-model-name", launch.served_names[0]),
        ("--dtype", _DTYPE_NAMES.get(launch.dtype, "auto")),
        ("--context-length", str(launch.context_length)),
        ("--max-running-requests", str(launch.max_concurrency)),
        ("--max-total-tokens", str(_total_tokens(launch))),
        ("--tp-size", options[TENSOR_PARALLEL.name]),
        ("--pp-size", options[PIPELINE_PARALLEL.name]),
        ("--load-format", "safetensors"),
        ("--random-seed", options[SEED]),
        # The checkpoint's own sampling would apply to whoever names none, and differ from one version to the next.
        ("--sampling-defaults", "openai"),
        ("--enable-metrics",),
        # Its counter of tokens, by which progress is seen, is written as often as this line of the log.
        ("--decode-log-interval", str(_LOG_EVERY_STEPS)),
        ("--log-level-http", "warning"),
        # Who is stuck is decided by whoever routes to it, and not by the engine itself.
        ("--watchdog-timeout", str(_WATCHDOG_S)),
        *_option_flags(launch),
        ("--host", "127.0.0.1", "--port", str(launch.port)),
    ]
    return (*launch.build.program, *write_flags(words, CHANGES, read_release(launch.build.metrics_version)))


def _option_flags(launch: Launch) -> list[tuple[str, ...]]:
    options, found = launch.options, list[tuple[str, ...]]()
    if options[KV_DTYPE].upper() != "AUTO":
        found.append(("--kv-cache-dtype", _KV_DTYPES[options[KV_DTYPE].upper()]))
    if options[BLOCK_SIZE.name]:
        found.append(("--page-size", options[BLOCK_SIZE.name]))
    if options[MAX_BATCHED_TOKENS.name]:
        found.append(("--chunked-prefill-size", options[MAX_BATCHED_TOKENS.name]))
    if launch.device_id == "host":
        found.append(("--device", "cpu"))
    return found


def _total_tokens(launch: Launch) -> int:
    """Return the number of tokens that the plan's cache has room for.

    Every sequence at its full context, in whole pages.

    It makes a cache of what is free at most, and of no more than these tokens: a share of the memory need not be named.
    """
    page = int(launch.options[BLOCK_SIZE.name] or "1")
    pages = -(-launch.context_length // page)
    return launch.max_concurrency * pages * page


def variables(launch: Launch) -> dict[str, str]:
    """Return what is set in its environment."""
    cache = launch.cache_dir
    found = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        # /health would make a token at each look, take a second for it, and call a long prefill ill; with 0 it tells ready from starting.
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
        "SGLANG_CACHE_DIR": str(cache / "engine"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "PYTHONUNBUFFERED": "1",
        **bytecode_cache(launch),
    }
    if launch.device_id != "host":
        found |= {**DEVICE_ORDER, "CUDA_VISIBLE_DEVICES": visible_devices(launch)}
    return found


def metric_names(version: str) -> MetricNames:
    """Return where its numbers are.

    What it says of requests is what its HTTP service answered: a stream counts as it begins, and one that fails midway as well answered.
    """
    release = read_release(version)
    steps = [MetricSeries("sglang:generation_tokens_total"), MetricSeries("sglang:prompt_tokens_total")]
    if has(CHANGES, _REALTIME, release):
        steps.append(MetricSeries(_REALTIME))

    def answers(codes: tuple[str, ...]) -> tuple[MetricSeries, ...]:
        # A release without the counter tells nothing of how requests ended.
        if not has(CHANGES, _RESPONSES, release):
            return ()
        return (MetricSeries(_RESPONSES, (("status_code", codes), ("endpoint", ENDPOINTS))),)

    return MetricNames(
        steps=tuple(steps),
        running=(MetricSeries("sglang:num_running_reqs"),),
        waiting=(MetricSeries("sglang:num_queue_reqs"),),
        ok=answers(("200",)),
        client_errors=answers(_CLIENT_ERRORS),
        server_errors=answers(_SERVER_ERRORS),
        histograms=(
            (Measure.FIRST_TOKEN, "sglang:time_to_first_token_seconds"),
            (Measure.INTER_TOKEN, "sglang:inter_token_latency_seconds"),
            (Measure.END_TO_END, "sglang:e2e_request_latency_seconds"),
        ),
        figures=(
            FigureSource(Figure.CACHE_TOKENS, "sglang:max_total_num_tokens"),
            FigureSource(Figure.CACHE_BLOCKS, "sglang:num_pages"),
        ),
        prompt_tokens=(MetricSeries("sglang:prompt_tokens_total"),),
        generated_tokens=(MetricSeries("sglang:generation_tokens_total"),),
    )


OPTIONS: Final = (
    kv_dtype(*_KV_DTYPES),
    TENSOR_PARALLEL,
    PIPELINE_PARALLEL,
    BLOCK_SIZE,
    MAX_BATCHED_TOKENS,
    Option(SEED, "Seed of sampling without one of its own.", OptionType.WHOLE_NUMBER, maximum=2**31 - 1, default="0"),
)

KIND: Final = EngineKind(
    name=NAME,
    title="SGLang",
    command=(),
    environment=lambda _environment, _exact: {},
    version=lambda _environment: NAME,
    protocols=("OIP_GRPC", "OPENAI_HTTP"),
    options=OPTIONS,
    formats=frozenset({"safetensors"}),
    packed=PACKED,
    dtypes=frozenset(_DTYPE_NAMES),
    measures_free_memory=True,
    limits=KindLimits(standby_s=60.0, start_quiet_s=600.0),
    tasks=frozenset({Task.GENERATION}),
    is_calibrated=True,
    foreign=ForeignEngine(
        find_build=find_build,
        arguments=arguments,
        metric_names=metric_names,
        variables=variables,
        listens=Listen.TCP,
        dialect=Dialect.OPENAI,
        scoring=ScoringMethod.GENERATE_LOGPROBS,
        steps=(
            LogStep(r"server_args=", "reading the configuration"),
            LogStep(r"Load weight begin", "loading the weights"),
            LogStep(r"Load weight end", "weights loaded"),
            LogStep(r"KV Cache is allocated|Memory pool end", "cache made"),
            LogStep(r"[Cc]apture .*cuda graph", "capturing graphs"),
            LogStep(r"fired up and ready to roll", "listening"),
        ),
        causes=(
            FinalCause(r"Not enough memory|out of memory|OutOfMemoryError", retryable=True),
            FinalCause(r"[Aa]ddress already in use|port .* is not available", retryable=True),
            FinalCause(r"unrecognized arguments|invalid choice:|expected one argument", "this build has other flags"),
            FinalCause(r"HFValidationError|Repo id must", "the checkpoint's directory is not there any more"),
            FinalCause(r"[Mm]odel architectures? .* (?:are|is) not supported", "a newer build may serve it"),
            FinalCause(
                r"trust_remote_code|custom code which must be executed", "the checkpoint's own code is never run"
            ),
        ),
        exit_causes=EXIT_CAUSES,
        cause_line=CAUSE_LINE,
        stop_grace_s=5.0,
        # It waits for open requests without a limit, and its health route is ill meanwhile.
        is_drained_by_term=True,
    ),
)
