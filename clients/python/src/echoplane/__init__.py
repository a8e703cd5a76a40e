"""Client of the Echoplane control plane: load, roll out and call models.

``Client`` and ``AsyncClient`` speak the control API; ``InferenceClient`` and ``AsyncInferenceClient`` call models over
``xds:///``. Everything is imported when it is first used: whoever wants the generated messages only pays for nothing else, and
the protobuf package ``inference``, which can be in a process only once, stays away from one that uses Triton's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from echoplane._version import __version__
    from echoplane.aio import AsyncClient
    from echoplane.channels import bootstrap, install_bootstrap
    from echoplane.client import Client
    from echoplane.errors import EchoplaneError, RolledBackError
    from echoplane.inferring import AsyncInferenceClient, InferenceClient
    from echoplane.operations import Completed
    from echoplane.options import ClientOptions, RetryPolicy

__all__ = [
    "AsyncClient",
    "AsyncInferenceClient",
    "Client",
    "ClientOptions",
    "Completed",
    "EchoplaneError",
    "InferenceClient",
    "RetryPolicy",
    "RolledBackError",
    "__version__",
    "bootstrap",
    "install_bootstrap",
]

_HOMES: Final = {
    "AsyncClient": "aio",
    "AsyncInferenceClient": "inferring",
    "Client": "client",
    "ClientOptions": "options",
    "Completed": "operations",
    "EchoplaneError": "errors",
    "InferenceClient": "inferring",
    "RetryPolicy": "options",
    "RolledBackError": "errors",
    "__version__": "_version",
    "bootstrap": "channels",
    "install_bootstrap": "channels",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'echoplane' has no attribute {name!r}")
    return getattr(import_module(f"echoplane.{home}"), name)
