"""From a checkpoint directory to facts, without reading a weight."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from echoplaned import _allocator
from echoplaned.core.facts import Dtype, ModelFacts, Task
from echoplaned.core.signature import signature_for
from echoplaned.errors import ArchitectureUnsupportedError, SourceCorruptError
from echoplaned.planning._translate import translated

_MODULES_NAME: Final = "modules.json"
_KNOWN_MODULES: Final = frozenset({"Transformer", "Pooling", "Normalize"})
_MAX_JSON_BYTES: Final = 1024 * 1024
_MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was inspected. ``facts.digest`` is empty where it was not asked for, or where there is a config only.

    ``native`` holds dimensions and rules for the functions of this package. ``has_weights``: whether files were read.
    """

    facts: ModelFacts
    has_weights: bool
    files: tuple[str, ...]
    native: _allocator.Checkpoint


def inspect_model(path: Path, *, allowed_root: Path | None = None) -> ModelFacts:
    """Read what a checkpoint directory is: config, headers, and a digest over every file that an engine will read.

    Args:
        path: the directory.
        allowed_root: every file that is read must lie beneath it once links are followed; None allows all.

    Raises:
        SourceUnsafeError: Python files, ``auto_map``, or pickles in the place of safetensors.
        SourceNotAllowedError: a file leads out of ``allowed_root``.
        SourceCorruptError: a file is missing, unreadable or malformed, or config and tensors disagree.
        ArchitectureUnsupportedError: the catalogue has no rules for the model.
        DtypeUnsupportedError: weights of a dtype that is unknown or cannot be served.
    """
    return inspect_checkpoint(path, allowed_root=allowed_root).facts


def inspect_checkpoint(path: Path, *, allowed_root: Path | None = None, with_digest: bool = True) -> Checkpoint:
    """As `inspect_model`, with what sizing needs. Without the digest no file but headers and configs is read.

    Raises:
        EchoplaneError: as `inspect_model` says.
    """
    with translated():
        native = _allocator.inspect(path, allowed_root)
        if native.task == Task.EMBEDDING:
            _check_modules(path)
        digest = f"blake3:{_allocator.digest(path, native.files)}" if with_digest else ""
    return _checkpoint(native, digest)


def inspect_config(path: Path) -> Checkpoint:
    """Read a ``config.json`` alone: an estimate whose parameter count is exact.

    Raises:
        SourceCorruptError: the file is missing, unreadable or malformed.
        ArchitectureUnsupportedError: the catalogue has no rules for the model.
        DtypeUnsupportedError: the config gives a dtype that cannot be served.
        SourceUnsafeError: the config asks for the repository's own code.
    """
    text = _read(path, _MAX_CONFIG_BYTES)
    with translated():
        return _checkpoint(_allocator.inspect_config(text), "")


def _checkpoint(native: _allocator.Checkpoint, digest: str) -> Checkpoint:
    """Give the native result the core's types."""
    task = Task(native.task)
    facts = ModelFacts(
        architecture=native.architecture,
        task=task,
        parameter_count=native.parameter_count,
        stored_dtype=Dtype(native.stored_dtype),
        weights_bytes=native.stored_bytes,
        max_context_length=native.max_context_length,
        size_class=_allocator.size_class(native.parameter_count),
        digest=digest,
        signature=signature_for(task, embedding_width=native.embedding_width, label_count=native.label_count),
    )
    return Checkpoint(facts=facts, has_weights=native.has_weights, files=tuple(native.files), native=native)


def _check_modules(directory: Path) -> None:
    """Refuse sentence embeddings that are more than pooling and normalising: their vectors would be wrong."""
    path = directory / _MODULES_NAME
    if not path.is_file():
        return
    try:
        modules: Any = json.loads(_read(path, _MAX_JSON_BYTES))
        types = [str(module["type"]).rpartition(".")[2] for module in modules]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise SourceCorruptError(f"{_MODULES_NAME} is not a list of modules", subject="source_uri") from error
    unknown = sorted(set(types) - _KNOWN_MODULES)
    if unknown:
        known = ", ".join(sorted(_KNOWN_MODULES))
        message = f"{_MODULES_NAME}: modules of type {', '.join(unknown)} are not supported; supported are {known}"
        raise ArchitectureUnsupportedError(message, subject=_MODULES_NAME, accepted=known)


def _read(path: Path, limit: int) -> bytes:
    """Return a small regular file's content.

    Raises:
        SourceCorruptError: it is missing, unreadable or larger than ``limit`` bytes.
    """
    try:
        if not path.is_file():
            raise SourceCorruptError(f"{path.name} does not exist", subject="source_uri")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SourceCorruptError(f"{path.name} cannot be read: {error.strerror}", subject="source_uri") from error
    if len(content) > limit:
        raise SourceCorruptError(f"{path.name} has more than {limit} bytes", subject="source_uri")
    return content
