"""The form of a foreign engine: how it is started, read and spoken to.

Our supervisor does so. Data and pure functions; no engine is imported.

A kind with a ``ForeignEngine`` is led by ``echoplaned.supervisor``, which is the same for all of them: what differs is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.measure import Measure

PASSED_VARIABLES: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "LOGNAME"})
"""What an engine gets of the daemon's environment by name; everything else has to be declared (``ForeignEngine.variables``)."""

PASSED_PREFIXES: Final = ("CUDA_", "NVIDIA_", "ROCR_", "HIP_")
"""Variables of devices are passed by how their names begin."""

MAX_SOCKET_PATH_BYTES: Final = 100
"""A unix socket's path may have 107 bytes (unix(7)); some engines append to it."""


class EngineMissingError(ValueError):
    """There is no usable engine at a prefix; the message says what was looked for."""


class Listen(StrEnum):
    """Where an engine can listen."""

    SOCKET = "SOCKET"
    """On a unix socket (0600) beneath the state directory, and nowhere else."""
    TCP = "TCP"
    """On a port of loopback that the supervisor picks."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of an engine.

    Attributes:
        version: version as the engine says it, with its package's where it has one; measurements are kept under it.
        program: beginning of the command line, an absolute path first.
        metrics_version: part of the version that decides what its metrics are called; empty: it decides nothing.
        listens: kind of address that it listens on, if builds of the kind differ in that; None: as the kind says.
        has_bytecode: whether it is of Python, and its modules were compiled when they were installed.
    """

    version: str
    program: tuple[str, ...]
    metrics_version: str = ""
    listens: Listen | None = None
    has_bytecode: bool = False


class Dialect(StrEnum):
    """API that is spoken to an engine.

    Requests of the Open Inference Protocol are translated for it.
    """

    LLAMA_SERVER = "LLAMA_SERVER"
    """``/completion``, ``/tokenize`` of llama-server."""
    OPENAI = "OPENAI"
    """``/v1/completions`` with ``logprobs``; with ``return_token_ids`` where ``ForeignEngine.returns_token_ids``."""


class ScoringMethod(StrEnum):
    """How an engine is asked for the log-probabilities of a given text."""

    NONE = "NONE"
    """It cannot be: the echo gate abstains, and says so."""
    FORCED_TOKENS = "FORCED_TOKENS"
    """llama-server: one request a token, the answer's whole distribution looked up."""
    PROMPT_LOGPROBS = "PROMPT_LOGPROBS"
    """vLLM and Aphrodite: ``prompt_logprobs`` of ``/v1/completions``, over ids of ``/tokenize``."""
    GENERATE_LOGPROBS = "GENERATE_LOGPROBS"
    """SGLang: ``/generate`` with ``return_logprob``."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of an engine: what a command line is made from.

    It comes from the order and the supervisor.

    Attributes:
        build: build that is started.
        model: path of the checkpoint's directory, or of its file.
        served_names: names that the engine may be asked for by; the first is in its answers: the model's id.
        task: task that the model is served for.
        dtype: dtype of the weights.
        context_length: tokens of one sequence, prompt and generated together, from 1.
        max_concurrency: sequences that are computed at once, from 1.
        device_ids: devices that it runs on, one a rank: ``host`` or ``cuda:N``.
        options: text of every declared option, defaults filled in.
        socket: path of the unix socket to listen on; empty: it listens on ``port``.
        port: TCP port on 127.0.0.1; 0: it listens on ``socket``.
        kv_cache_bytes: bytes that the plan gives the cache of each rank; 0: the plan names none.
        memory_share_ppm: share of each device's whole memory that the plan gives it, millionths; 0: not known.
        cache_dir: directory of this user for what is compiled; kept between starts.
        scratch_dir: directory of this instance, mode 0700; removed with it.
    """

    build: Build
    model: Path
    served_names: tuple[str, ...]
    task: Task
    dtype: Dtype
    context_length: int
    max_concurrency: int
    device_ids: tuple[str, ...] = ("host",)
    options: Mapping[str, str] = field(default_factory=dict)
    socket: str = ""
    port: int = 0
    kv_cache_bytes: int = 0
    memory_share_ppm: int = 0
    cache_dir: Path = Path("/nonexistent")
    scratch_dir: Path = Path("/nonexistent")

    @property
    def device_id(self) -> str:
        """The first device, which its kind goes by: all of them are ``host``, or GPUs."""
        return self.device_ids[0]


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """Samples of one metric, added up.

    Attributes:
        name: name as ``/metrics`` has it, ``_total`` and ``_count`` included.
        labels: labels and the values of each that count; a label that is not named may have any.
    """

    name: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Figure(StrEnum):
    """A number that an engine says of itself, by its field's name.

    The fields are those of ``core.engine_figures.EngineFigures``.
    """

    CONTEXT_LENGTH = "context_length"
    CACHE_TOKENS = "cache_tokens"
    CACHE_BLOCKS = "cache_blocks"
    CACHE_BYTES = "cache_bytes"


@dataclass(frozen=True, slots=True)
class FigureSource:
    """Where a figure is on the page.

    Attributes:
        figure: figure that is found there.
        name: name of the metric.
        label: label of the metric whose text is the number; empty: it is the metric's value.
    """

    figure: Figure
    name: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Where an engine's numbers are on its Prometheus page.

    Several series are added up; none: it does not count that.

    Attributes:
        steps: totals that grow whenever the model computes.
        running: requests that are computed now.
        waiting: requests that wait to be computed.
        ok: requests that were answered well; with ``client_errors`` and ``server_errors`` it makes what the engine counts.
        client_errors: requests that were refused for what the caller sent.
        server_errors: requests that failed otherwise.
        histograms: latency histograms, by the name without ``_bucket``.
        figures: numbers that the engine says of itself.
        prompt_tokens: tokens of the texts that it was given, as far as it computed them.
        generated_tokens: tokens that it generated.
    """

    steps: tuple[MetricSeries, ...] = ()
    running: tuple[MetricSeries, ...] = ()
    waiting: tuple[MetricSeries, ...] = ()
    ok: tuple[MetricSeries, ...] = ()
    client_errors: tuple[MetricSeries, ...] = ()
    server_errors: tuple[MetricSeries, ...] = ()
    histograms: tuple[tuple[Measure, str], ...] = ()
    figures: tuple[FigureSource, ...] = ()
    prompt_tokens: tuple[MetricSeries, ...] = ()
    generated_tokens: tuple[MetricSeries, ...] = ()

    @property
    def counts_requests(self) -> bool:
        """Whether the engine tells how its requests ended.

        Where not, only those that pass the supervisor are counted.
        """
        return bool(self.ok)


@dataclass(frozen=True, slots=True)
class LogStep:
    """A line of the log that shows how far a start is.

    Attributes:
        pattern: regular expression, searched in one line.
        step: what the engine does from then on, for people.
    """

    pattern: str
    step: str


@dataclass(frozen=True, slots=True)
class FinalCause:
    """A line of the log after which another start would end the same way.

    Attributes:
        pattern: regular expression, searched in one line; that line becomes the failure.
        hint: what to do about it; empty: the line says enough.
        retryable: whether it might start later, when memory or the port is free again.
    """

    pattern: str
    hint: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class EngineRoutes:
    """Paths of the engine's HTTP service.

    Attributes:
        health: path that answers 200 when the engine is ready; an option in braces (``{health_route}``) is put in.
        metrics: path of the Prometheus page; empty: it has none.
        load: path of JSON of which ``load_field`` is the number of requests in flight; empty: metrics tell.
        load_field: field of that JSON; empty where ``load`` is.
    """

    health: str = "/health"
    metrics: str = "/metrics"
    load: str = ""
    load_field: str = ""


def _no_variables(_launch: Launch) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class ForeignEngine:
    """How the supervisor handles engines of one kind.

    Attributes:
        find_build: finds what is at a prefix, by metadata or ``--version``, in at most 10 s; raises ``EngineMissingError``.
        arguments: makes the whole command line, ``launch.build.program`` first; never a shell's.
        metric_names: makes the names of the metrics from ``Build.metrics_version``.
        variables: makes what is set in its environment beside what is passed.
        listens: kind of address that it listens on.
        routes: paths of its HTTP service.
        dialect: API that inference is translated to.
        scoring: method by which texts are scored.
        returns_token_ids: whether ``return_token_ids`` is understood (OPENAI).
        steps: lines of the log that show the steps of a start.
        causes: lines of the log that show why a start failed; the first that matches counts.
        exit_causes: exit codes after which another start would end the same way, and what they mean.
        cause_line: regular expression for the line that says why it ended where no cause matched; the last one counts.
        stop_grace_s: time between SIGTERM and SIGKILL of an engine that serves and has no request in flight, seconds.
        is_drained_by_term: whether after SIGTERM it answers what is in flight; where not, it is stopped at once.
        program: program by whose name it is found where no setting says where it is; empty: it is not looked for.
    """

    find_build: Callable[[str], Build]
    arguments: Callable[[Launch], tuple[str, ...]]
    metric_names: Callable[[str], MetricNames]
    variables: Callable[[Launch], Mapping[str, str]] = _no_variables
    listens: Listen = Listen.TCP
    routes: EngineRoutes = EngineRoutes()
    dialect: Dialect = Dialect.OPENAI
    scoring: ScoringMethod = ScoringMethod.NONE
    returns_token_ids: bool = False
    steps: tuple[LogStep, ...] = ()
    causes: tuple[FinalCause, ...] = ()
    exit_causes: tuple[tuple[int, str], ...] = ()
    cause_line: str = r"(?i)\berror\b|exception|fatal|abort|cannot|failed"
    stop_grace_s: float = 2.0
    is_drained_by_term: bool = False
    program: str = ""


def passed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that is passed to an engine.

    It is never handed on as it is, as engines read variables by the hundred.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in PASSED_VARIABLES or name.startswith(PASSED_PREFIXES)
    }
