"""What a repository's client may load by a name alone.

Models that were unloaded come back as they were loaded; directories beneath the roots are loaded with what a load chooses by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError

from echoplane.names import propose_id
from echoplane.v1 import models_pb2, types_pb2
from echoplaned.core.budgets import Budget
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.core.names import model_name
from echoplaned.core.state import Model, Version
from echoplaned.ports.planning import Planning
from echoplaned.ports.unloaded import UnloadedModels
from echoplaned.rpc.blocking import BlockingCalls
from echoplaned.rpc.convert.common import DTYPE_TO_PB
from echoplaned.rpc.convert.plans import overrides_to_pb
from echoplaned.rpc.fair_semaphore import FairSemaphore
from echoplaned.rpc.peer import current_peer

_AT_ONCE: Final = 1
_MAX_WAITING: Final = 200
_HUB: Final = "models--"
_MAX_ALIAS_CHARS: Final = 128
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loadable:
    """A model that is not loaded, and how it would be.

    Attributes:
        request: that loads it.
        reason: why it is here, for a list.
        names: by which it may be asked for beside its id.
    """

    request: models_pb2.LoadModelRequest
    reason: str
    names: tuple[str, ...] = ()


class RepositoryCatalogue:
    """Knows what could be loaded; reads directories and files in a thread of its own.

    Connections take turns: a list reads many directories, and a load by name or an unload waits for the same thread.
    """

    def __init__(self, planning: Planning, unloaded: UnloadedModels) -> None:
        self._planning = planning
        self._unloaded = unloaded
        self._turns = FairSemaphore(_AT_ONCE, Budget("calls that wait for the repository", _MAX_WAITING))
        self._calls = BlockingCalls("the repository", _AT_ONCE, _MAX_WAITING)

    async def loadable(self) -> dict[str, Loadable]:
        """Return what could be loaded, by the id that it would have.

        What was unloaded comes before a directory of the same id, and of directories the first in order of path.
        """
        kept, sources = await self._in_turn(self._read)
        found = {model_id: Loadable(request, "unloaded") for model_id, request in _requests(kept).items()}
        for source in sources:
            name = _common_name(source)
            model_id = propose_id(name)
            if model_id and model_id not in found:
                aliases = [name] if name != model_id and _is_alias(name) else []
                request = models_pb2.LoadModelRequest(model_id=model_id, source_uri=f"file:{source}", aliases=aliases)
                found[model_id] = Loadable(request, f"not loaded: file:{source}", (name, source))
        return found

    async def find(self, name: str) -> models_pb2.LoadModelRequest | None:
        """Return what loads a model that goes by a name; None where nothing does."""
        loadable = await self.loadable()
        if name in loadable:
            return loadable[name].request
        named = (each.request for each in loadable.values() if name in each.names or name in each.request.aliases)
        return next(named, None)

    async def keep(self, model: Model) -> None:
        """Keep how a model's serving version was loaded.

        Raises:
            StoreUnavailableError: it cannot be written; nothing is unloaded then.
        """
        version = model.versions.get(model.serving_version)
        if version is None:
            return
        content = load_again(model, version).SerializeToString(deterministic=True)
        try:
            await self._in_turn(lambda: self._unloaded.keep(model.model_id, content))
        except OSError as error:
            raise StoreUnavailableError(
                f"how {model_name(model.model_id)} was loaded cannot be written: {error.strerror or error}"
            ) from error

    async def _in_turn(self, call: Callable[[], T]) -> T:
        """Make a blocking call when it is the connection's turn."""
        async with self._turns.acquire(current_peer()):
            return await self._calls.run(call)

    def _read(self) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
        try:
            kept = self._unloaded.read()
        except OSError:
            kept = {}  # directories are listed all the same
        return kept, self._planning.list_sources()


def load_again(model: Model, version: Version) -> models_pb2.LoadModelRequest:
    """Return the request that loads a known version as it was loaded before."""
    spec, shape = version.spec, version.spec.shape
    return models_pb2.LoadModelRequest(
        model_id=model.model_id,
        version_id=version.key.version,
        source_uri=spec.source_uri,
        engine=shape.engine,
        engine_options=dict(shape.options),
        # Weights that are packed by their file are served as they are, whatever dtype is computed in.
        dtype=types_pb2.DTYPE_UNSPECIFIED if shape.weights_format else DTYPE_TO_PB[shape.dtype],
        context_length=shape.context_length,
        max_concurrency=shape.max_concurrency,
        replicas=shape.replicas,
        pinned=version.pinned,
        reservoir=overrides_to_pb(spec.reservoir),
        labels=dict(model.labels),
        aliases=model.aliases,
    )


def _requests(kept: Mapping[str, bytes]) -> dict[str, models_pb2.LoadModelRequest]:
    found = {}
    for model_id, content in kept.items():
        try:
            found[model_id] = models_pb2.LoadModelRequest.FromString(content)
        except DecodeError:
            continue  # of another release, or damaged: its directory is listed instead
    return found


def _common_name(path: str) -> str:
    """Return the name by which people know a checkpoint.

    It is ``ORG/NAME`` for a directory of a hub's cache, else its path.
    """
    parent, _, last = path.rpartition("/")
    if not last.startswith(_HUB):
        return path
    name = last.removeprefix(_HUB).replace("--", "/", 1)
    return f"{parent}/{name}" if parent else name


def _is_alias(name: str) -> bool:
    """Whether a name may be an alias, by its characters."""
    return name.isascii() and name.isprintable() and len(name) <= _MAX_ALIAS_CHARS
