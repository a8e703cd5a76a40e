"""The form of a foreign engine: how our supervisor starts it, reads it and speaks to it. Data and pure functions; no engine is imported.

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
        version: what it says of itself, with its package's version where it has one: what measurements are kept under.
        program: the command line's beginning, an absolute path first.
        metrics_version: the part of the version that decides what its metrics are called; empty: it decides nothing.
        listens: where it listens, if builds of the kind differ in that; None: as the kind says.
    """

    version: str
    program: tuple[str, ...]
    metrics_version: str = ""
    listens: Listen | None = None


class Dialect(StrEnum):
    """What is spoken to an engine when a request of the Open Inference Protocol is translated for it."""

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
    """One start of an engine, from the order and the supervisor: what a command line is made from.

    Attributes:
        build: what is started.
        model: the checkpoint's directory, or its file.
        served_names: what the engine may be asked for by; the first is in its answers: the model's id.
        task: what it is served for.
        dtype: of the weights.
        context_length: tokens of one sequence.
        max_concurrency: sequences at once.
        device_id: ``host`` or ``cuda:N``.
        options: the text of every declared option, defaults filled in.
        socket: path of the unix socket to listen on; empty: it is ``port``.
        port: on 127.0.0.1.
        kv_cache_bytes: of the plan, for each rank; 0: the plan names none.
        memory_share_ppm: of the device's whole memory that the plan gives it, in millionths; 0: it is not known.
        cache_dir: of this user, for what is compiled; kept between starts.
        scratch_dir: of this instance, 0700; removed with it.
    """

    build: Build
    model: Path
    served_names: tuple[str, ...]
    task: Task
    dtype: Dtype
    context_length: int
    max_concurrency: int
    device_id: str = "host"
    options: Mapping[str, str] = field(default_factory=dict)
    socket: str = ""
    port: int = 0
    kv_cache_bytes: int = 0
    memory_share_ppm: int = 0
    cache_dir: Path = Path("/nonexistent")
    scratch_dir: Path = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """Samples of one metric, added up.

    Attributes:
        name: as ``/metrics`` has it, ``_total`` and ``_count`` included.
        labels: label and the values that count; a label that is not named may have any.
    """

    name: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Figure(StrEnum):
    """What an engine says of itself (``core.engine_figures.EngineFigures``), by its field."""

    CONTEXT_LENGTH = "context_length"
    CACHE_TOKENS = "cache_tokens"
    CACHE_BLOCKS = "cache_blocks"
    CACHE_BYTES = "cache_bytes"


@dataclass(frozen=True, slots=True)
class FigureSource:
    """Where a figure is on the page.

    Attributes:
        figure: which.
        name: of the metric.
        label: of the metric, whose text is the number; empty: it is the metric's value.
    """

    figure: Figure
    name: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Where an engine's numbers are; several series are added up, none: it does not count that.

    Attributes:
        steps: totals that grow whenever the model computes: progress.
        running: requests that are computed now.
        waiting: requests that wait for that.
        ok: requests that were answered well; with ``client_errors`` and ``server_errors`` it makes what the engine counts.
        client_errors: requests that were refused for what the caller sent.
        server_errors: requests that failed otherwise.
        histograms: latencies, by the name without ``_bucket``.
        figures: what it says of itself.
    """

    steps: tuple[MetricSeries, ...] = ()
    running: tuple[MetricSeries, ...] = ()
    waiting: tuple[MetricSeries, ...] = ()
    ok: tuple[MetricSeries, ...] = ()
    client_errors: tuple[MetricSeries, ...] = ()
    server_errors: tuple[MetricSeries, ...] = ()
    histograms: tuple[tuple[Measure, str], ...] = ()
    figures: tuple[FigureSource, ...] = ()

    @property
    def counts_requests(self) -> bool:
        """Whether the engine tells how its requests ended; where not, only those that pass the supervisor are counted."""
        return bool(self.ok)


@dataclass(frozen=True, slots=True)
class LogStep:
    """A line of the log that shows how far a start is.

    Attributes:
        pattern: a regular expression, searched in one line.
        step: what the engine does from then on, for people.
    """

    pattern: str
    step: str


@dataclass(frozen=True, slots=True)
class FinalCause:
    """A line of the log after which another start would end the same way.

    Attributes:
        pattern: a regular expression, searched in one line; that line becomes the failure.
        hint: what to do about it; empty: the line says enough.
        retryable: it might start later, when memory or the port is free again.
    """

    pattern: str
    hint: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class EngineRoutes:
    """Paths of the engine's HTTP service.

    Attributes:
        health: answers 200 when the engine is ready; an option in braces (``{health_route}``) is put in.
        metrics: Prometheus text; empty: it has none.
        load: JSON of which ``load_field`` is the number of requests in flight; empty: metrics tell.
        load_field: see there.
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
        find_build: what is at a prefix, by metadata or ``--version``, in at most 10 s; raises ``EngineMissingError``.
        arguments: the whole command line, ``launch.build.program`` first; never a shell's.
        metric_names: by ``Build.metrics_version``.
        variables: what is set in its environment beside what is passed.
        listens: where.
        routes: of its HTTP service.
        dialect: how inference is translated.
        scoring: how texts are scored.
        returns_token_ids: whether ``return_token_ids`` is understood (OPENAI).
        steps: of a start, in the log.
        causes: of a failed start, in the log; the first that matches counts.
        exit_causes: exit codes after which another start would end the same way, and what they mean.
        cause_line: a regular expression for the line that says why it ended where no cause matched; the last one counts.
        stop_grace_s: between SIGTERM and SIGKILL of an engine that serves and has no request in flight.
        is_drained_by_term: whether after SIGTERM it answers what is in flight; where not, it is stopped at once.
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


def passed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an engine gets of an environment: it is never handed on as it is, as engines read variables by the hundred."""
    return {
        name: value
        for name, value in environment.items()
        if name in PASSED_VARIABLES or name.startswith(PASSED_PREFIXES)
    }
