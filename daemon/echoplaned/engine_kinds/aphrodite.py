"""The engine Aphrodite: safetensors, on a unix socket.

From 0.21, where it was made anew of vLLM. It was never run here: its wheels need CUDA.
"""

from __future__ import annotations

from typing import Final

from echoplaned.core.facts import Task
from echoplaned.engine_kinds import vllm_family as family
from echoplaned.engine_kinds.flags import Change, Changes, table
from echoplaned.engine_kinds.foreign import (
    Build,
    Dialect,
    EngineRoutes,
    ForeignEngine,
    Launch,
    Listen,
    MetricNames,
    ScoringMethod,
)
from echoplaned.engine_kinds.kind import EngineKind, KindLimits
from echoplaned.engine_kinds.python_builds import PythonEngine, find_python_build

NAME: Final = "aphrodite"

ENGINE: Final = PythonEngine(
    name="Aphrodite",
    distributions=("aphrodite-engine",),
    module=("-m", "aphrodite.entrypoints.openai.api_server"),
    oldest=(0, 21),
    listens=Listen.SOCKET,
)

CHANGES: Final[Changes] = table(
    Change("--shutdown-timeout", since=(0, 24)),
    Change("APHRODITE_ENGINE_READY_TIMEOUT_S", since=(0, 24)),
)
"""Looked up in 0.24.1 only, so what is not in every vLLM that it may be made of is passed from there on."""


def find_build(prefix: str) -> Build:
    """Find the package in an environment.

    Raises:
        EngineMissingError: it is not there, or too old.
    """
    return find_python_build(ENGINE, prefix)


def arguments(launch: Launch) -> tuple[str, ...]:
    """Return the command line."""
    return (*launch.build.program, *family.flags(launch, CHANGES))


def variables(launch: Launch) -> dict[str, str]:
    """Return what is set in its environment."""
    return family.variables(launch, "APHRODITE_", CHANGES)


def metric_names(_version: str) -> MetricNames:
    """Return where its numbers are."""
    return family.metric_names("aphrodite:")


KIND: Final = EngineKind(
    name=NAME,
    title="Aphrodite",
    command=(),
    environment=lambda _environment, _exact: {},
    version=lambda _environment: NAME,
    protocols=("OIP_GRPC", "OPENAI_HTTP"),
    options=family.OPTIONS,
    formats=frozenset({"safetensors"}),
    packed=family.PACKED,
    dtypes=family.DTYPES,
    measures_free_memory=True,
    threads_option=family.THREADS,
    limits=KindLimits(standby_s=60.0, start_quiet_s=600.0),
    tasks=frozenset({Task.GENERATION}),
    is_calibrated=True,
    foreign=ForeignEngine(
        find_build=find_build,
        arguments=arguments,
        metric_names=metric_names,
        variables=variables,
        listens=Listen.SOCKET,
        routes=EngineRoutes(load="/load", load_field="server_load"),
        dialect=Dialect.OPENAI,
        scoring=ScoringMethod.PROMPT_LOGPROBS,
        returns_token_ids=True,
        steps=family.STEPS,
        causes=family.CAUSES,
        exit_causes=family.EXIT_CAUSES,
        cause_line=family.CAUSE_LINE,
        stop_grace_s=10.0,
        is_drained_by_term=True,
    ),
)
