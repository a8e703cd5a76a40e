"""The embedded engine: PyTorch in a process of ours.

It is its own leader. On the wire the kind is called ``torch``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from echoplaned.engine_kinds.heap import heap_name, heap_variables
from echoplaned.engine_kinds.kind import DEVICE_ORDER, PYTHON, EngineKind, Option, OptionType

NAME: Final = "torch"
MODULE: Final = "echoplaned.worker"
TORCH_THREADS: Final = "torch_threads"

_LIBRARIES: Final = ("torch", "transformers", "torchao")


def embedded_environment(environment: Mapping[str, str], exact: bool) -> dict[str, str]:  # noqa: FBT001 - as declared
    """Return what is set for a worker.

    Its heap, how GPUs are counted, and one thread by default.
    """
    heap = heap_variables(environment, exact=exact)
    return {**heap, **DEVICE_ORDER, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def embedded_version(environment: Mapping[str, str]) -> str:
    """Return the name that measurements of an embedded worker are kept under.

    It depends on the worker's environment. Reads metadata, imports nothing.

    How the heap is set is part of it.
    """
    names = [f"{name} {_version(name)}" for name in _LIBRARIES]
    return ", ".join([*names, heap_name(environment)])


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"


KIND: Final = EngineKind(
    name=NAME,
    title="the embedded engine",
    command=(PYTHON, "-P", "-m", MODULE),
    environment=embedded_environment,
    version=embedded_version,
    protocols=("OIP_GRPC", "OPENAI_HTTP", "OIP_HTTP"),
    options=(
        Option(
            TORCH_THREADS,
            "Threads of one inference.",
            OptionType.WHOLE_NUMBER,
            minimum=1,
            maximum=256,
            default="1",
        ),
    ),
    formats=frozenset({"safetensors"}),
    has_standby=True,
    is_calibrated=True,
    is_split=False,
    threads_option=TORCH_THREADS,
    modules=("torch", "transformers", "safetensors", "torchao", "tokenizers", "jinja2", "uvicorn"),
    install="pip install 'echoplaned[torch]'",
)
