"""The engine that is any command with OpenAI's REST API.

A command line with ``{model}``, and ``{port}`` or ``{socket}``, and a health route.

The command line is the operator's (``--engine command=...``), never a caller's: whoever could write one could run anything. It is split
as a shell would split it, and no shell ever runs it: ``;``, ``|``, ``$`` and ``*`` are characters like others.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Final

from echoplaned.core.facts import Task
from echoplaned.engine_kinds.builds import package_version
from echoplaned.engine_kinds.foreign import (
    Build,
    EngineMissingError,
    EngineRoutes,
    ForeignEngine,
    Launch,
    Listen,
    MetricNames,
)
from echoplaned.engine_kinds.kind import DEVICE_ORDER, EngineKind, KindLimits, Option, OptionType

NAME: Final = "command"
MEMORY: Final = "memory_bytes"
HEALTH: Final = "health_route"

_FIELD: Final = re.compile(r"\{(\w*)\}")
_FIELDS: Final = frozenset(
    {"model", "port", "socket", "name", "context_length", "total_context_length", "max_concurrency", "dtype", "device"}
)


def find_build(prefix: str) -> Build:
    """Read the command line, and find its program.

    Raises:
        EngineMissingError: it cannot be split, lacks a field, has an unknown one, or its program is not there.
    """
    try:
        words = shlex.split(prefix)
    except ValueError as error:
        raise EngineMissingError(f"the command line cannot be read: {error}") from error
    named = set(_FIELD.findall(prefix))
    if not words or "model" not in named or not named & {"port", "socket"} or {"port", "socket"} <= named:
        raise EngineMissingError("the command line needs {model}, and one of {port} and {socket}")
    if named - _FIELDS:
        unknown, known = ", ".join(sorted(named - _FIELDS)), ", ".join(sorted(_FIELDS))
        raise EngineMissingError(f"the command line has unknown fields ({unknown}); there are: {known}")
    program = shutil.which(words[0])
    if program is None:
        raise EngineMissingError(f"the command's program {words[0]!r:.200} does not exist or cannot be executed")
    path = Path(program).resolve()
    status = path.stat()
    # It is called by the path that was named: an interpreter finds its environment by it, and some programs what they shall be.
    called = str(Path(program).absolute())
    # There is nothing to ask: its package, or the file itself, says whether it is the same one.
    version = package_version(path) or f"({path.name} of {status.st_size} bytes, {status.st_mtime_ns})"
    # Other arguments may answer otherwise, as another program may: they are part of the build.
    arguments_digest = hashlib.sha256("\0".join(words[1:]).encode()).hexdigest()[:8]
    version = f"{version}, arguments {arguments_digest}"
    return Build(version, (called, *words[1:]), listens=Listen.SOCKET if "socket" in named else Listen.TCP)


def arguments(launch: Launch) -> tuple[str, ...]:
    """Return the command line with its fields put in; what is put in is never split."""
    values = {
        "model": str(launch.model),
        "port": str(launch.port),
        "socket": launch.socket,
        "name": launch.served_names[0],
        "context_length": str(launch.context_length),
        "total_context_length": str(launch.context_length * launch.max_concurrency),
        "max_concurrency": str(launch.max_concurrency),
        "dtype": launch.dtype.value.lower(),
        "device": launch.device_id,
    }
    program, *words = launch.build.program
    return (program, *(_FIELD.sub(lambda found: values[found[1]], word) for word in words))


KIND: Final = EngineKind(
    name=NAME,
    title="a command with a health route",
    command=(),
    environment=lambda _environment, _exact: {},
    version=lambda _environment: NAME,
    protocols=("OIP_GRPC", "OPENAI_HTTP"),
    options=(
        Option(
            MEMORY,
            "What one instance takes on its device, in bytes: nothing else is known of the engine.",
            OptionType.WHOLE_NUMBER,
            minimum=1,
            maximum=2**49,
        ),
        Option(
            HEALTH, "Path that answers 200 when it is ready.", default="/health", pattern=r"/[A-Za-z0-9/_.-]{0,100}"
        ),
    ),
    formats=frozenset({"safetensors", "gguf"}),
    is_split=False,
    limits=KindLimits(standby_s=60.0),
    tasks=frozenset({Task.GENERATION}),
    memory_option=MEMORY,
    foreign=ForeignEngine(
        find_build=find_build,
        arguments=arguments,
        # Its {device} is one of NVML's numbers.
        variables=lambda _launch: DEVICE_ORDER,
        metric_names=lambda _version: MetricNames(),
        listens=Listen.TCP,
        routes=EngineRoutes(health="{health_route}", metrics=""),
    ),
)
