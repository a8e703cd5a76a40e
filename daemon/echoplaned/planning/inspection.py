"""Facts of a checkpoint directory, read without reading a weight."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from echoplaned import _allocator
from echoplaned.core.errors import (
    DaemonError,
    SourceCorruptError,
    SourceNotFoundError,
    SourceUnsupportedError,
)
from echoplaned.core.facts import Dtype, ModelFacts, SourceContent, SourceFile, Task
from echoplaned.core.failure import FailureDetail
from echoplaned.core.signature import signature_for
from echoplaned.core.spec import ServingShape
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.engine_kinds.llama_cpp import KIND as GGUF_KIND
from echoplaned.planning._translate import translate_errors
from echoplaned.planning.hub import resolve_hub
from echoplaned.planning.sentences import check_sentences, max_seq_length
from echoplaned.ports.stop import Stop

DEFAULT_MAX_CONCURRENCY: Final = 8
"""Sequences at once where the caller says nothing."""

_ANY_ROOT: Final = Path("/")
_SOURCES: Final = "a checkpoint's directory, a GGUF file, or a config.json"
_GGUF: Final = f"GGUF: the {DEFAULT_KIND.name} engine reads safetensors (`--engine {GGUF_KIND.name}` reads GGUF)"
_ADAPTER_NAME: Final = "adapter_config.json"
_MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was inspected.

    Attributes:
        facts: what its files say; their digest is empty where it was not asked for, or where there is a config only.
        has_weights: whether weight files were read; False: a config alone.
        files: names of the files that an engine will read.
        native: dimensions and rules for the functions of this package.
        default_shape: how it is served where the caller says nothing.
        is_served: whether the embedded engine serves the architecture.
        weight_format: as ``facts.stored_dtype``, or how the weights are packed where that is no dtype of the API's
            (``facts.stored_dtype`` is then what is computed in).
        mtp_parameter_count: parameters of heads that predict further tokens; they are in no other count.
        refusal: why the embedded engine would not load it; None where it would, or where that was not asked.
    """

    facts: ModelFacts
    has_weights: bool
    files: tuple[str, ...]
    native: _allocator.Checkpoint
    default_shape: ServingShape
    is_served: bool = True
    weight_format: str = ""
    mtp_parameter_count: int = 0
    refusal: FailureDetail | None = None


def inspect_model(path: Path, *, allowed_root: Path | None = None) -> ModelFacts:
    """Read what a checkpoint directory is: config, headers, and a digest.

    The digest covers every file that an engine will read.

    Args:
        path: the directory.
        allowed_root: every file that is read must lie beneath it once links are followed; None allows all.

    Raises:
        SourceUnsafeError: pickles in the place of safetensors.
        SourceUnsupportedError: a field asks for something that the engine does not have (packed weights, ``auto_map``).
        SourceIncompleteError: a file is a pointer of Git LFS.
        SourceNotAllowedError: a file leads out of ``allowed_root``.
        SourceCorruptError: a file is missing, unreadable or malformed, or config and tensors disagree.
        ArchitectureUnsupportedError: the catalogue has no rules for the model.
        DtypeUnsupportedError: weights of a dtype that is unknown or cannot be served.
    """
    return inspect_checkpoint(path, allowed_root=allowed_root).facts


def inspect_checkpoint(path: Path, *, allowed_root: Path | None = None, with_digest: bool = True) -> Checkpoint:
    """Read what a checkpoint directory is, with what sizing needs.

    As `inspect_model`. Without the digest no file but headers and configs is read.

    Raises:
        SourceChangedError: a file was written or replaced while it was read.
        DaemonError: as `inspect_model` says.
    """
    root = allowed_root.absolute() if allowed_root is not None else _ANY_ROOT  # engines run elsewhere
    with translate_errors():
        refuse_adapter(path)
        native = _allocator.inspect(path, root)
        if native.task == Task.EMBEDDING:
            check_sentences(path, _read)
    checkpoint = _with_sentence_length(_checkpoint(native, ""), path)
    content = SourceContent(str(root), tuple(SourceFile(*one) for one in native.contents))
    facts = replace(checkpoint.facts, content=content)
    return replace(checkpoint, facts=digest_facts(facts, Stop()) if with_digest else facts)


def digest_facts(facts: ModelFacts, stop: Stop) -> ModelFacts:
    """Read all of an inspected checkpoint, and return its facts with the digest.

    All: every file that an engine will read.

    Raises:
        SourceChangedError: a file is not what it was when it was inspected, or was written meanwhile.
        SourceCorruptError: a file cannot be read.
        LimitExceededError: ``stop`` was set.
    """
    if facts.content is None:
        raise SourceCorruptError("there are no files to read", subject="source_uri")
    flag = _allocator.StopFlag()
    stop.on_stop(flag.stop)
    files = [(file.name, file.path, file.size_bytes, file.inode, file.change_time_ns) for file in facts.content.files]
    with translate_errors():
        return replace(facts, digest=f"blake3:{_allocator.digest_known(facts.content.root, files, flag)}")


def inspect_config(path: Path) -> Checkpoint:
    """Read a ``config.json`` alone, of any architecture of the catalogue.

    It gives an estimate whose parameter count is exact.

    Raises:
        SourceCorruptError: the file is missing, unreadable or malformed.
        ArchitectureUnsupportedError: the catalogue has no rules for the model.
        DtypeUnsupportedError: the config gives a dtype that is not known.
    """
    text = _read(path, _MAX_CONFIG_BYTES)
    with translate_errors():
        return _checkpoint(_allocator.survey_config(text), "")


def survey_model(path: Path, *, allowed_root: Path | None = None) -> Checkpoint:
    """Read whatever can be sized, served by the embedded engine or not.

    That is a directory, a GGUF file, or a ``config.json``.
    An architecture outside the catalogue is answered by its tensors. Of a hub's directory the revision is read that ``refs/main`` names.

    Raises:
        SourceNotFoundError: there is nothing at the path.
        SourceIncompleteError: a file is a pointer of Git LFS, or a hub's directory names no revision.
        SourceCorruptError: a file is missing, unreadable or malformed.
        SourceNotAllowedError: a file leads out of ``allowed_root``.
        ArchitectureUnsupportedError: the catalogue has no rules for the model, and there are no tensors.
        DtypeUnsupportedError: weights of a dtype that is unknown.
    """
    with translate_errors():
        if not path.exists():
            raise SourceNotFoundError(f"{path.absolute()} does not exist", subject="source_uri", accepted=_SOURCES)
        if path.is_file() and path.suffix.lower() != ".gguf":
            return inspect_config(path)
        directory = resolve_hub(path)
        checkpoint = _checkpoint(_allocator.survey(directory, allowed_root), "")
        return _with_sentence_length(checkpoint, directory) if directory.is_dir() else checkpoint


def find_refusal(path: Path, checkpoint: Checkpoint) -> FailureDetail | None:
    """Return why the embedded engine would not load a surveyed checkpoint.

    It is what the load itself would say, found by the same functions; None: it would load it.
    """
    try:
        if path.suffix.lower() == ".gguf" or any(name.endswith(".gguf") for name in checkpoint.files):
            raise SourceUnsupportedError(_GGUF, subject="general.architecture", accepted="safetensors")
        with translate_errors():
            directory = resolve_hub(path)
            if checkpoint.has_weights:
                inspect_checkpoint(directory, with_digest=False)
            else:
                refuse_adapter(directory)
                config = directory if path.is_file() else directory / "config.json"
                _allocator.inspect_config(_read(config, _MAX_CONFIG_BYTES))
    except DaemonError as error:
        return error.failure
    return None


def refuse_adapter(directory: Path) -> None:
    """Refuse an adapter, alone or beside a model.

    A load would serve the model without it.

    Raises:
        SourceUnsupportedError: there is an ``adapter_config.json``.
    """
    if (directory / _ADAPTER_NAME).is_file():
        message = (
            f"{_ADAPTER_NAME}: peft_type: adapters are not applied; merge it into its base model, or remove the file"
        )
        raise SourceUnsupportedError(message, subject=f"{_ADAPTER_NAME}: peft_type", accepted="a merged checkpoint")


def architectures() -> dict[str, bool]:
    """Return the catalogue of architectures: class name to whether it is served.

    The names are those of transformers' classes; served: by the embedded engine.
    """
    return dict(_allocator.architectures())


def _checkpoint(native: _allocator.Checkpoint, digest: str) -> Checkpoint:
    """Convert the native module's result to the core's types."""
    task = Task(native.task)
    packed = native.stored_dtype not in set(Dtype)
    facts = ModelFacts(
        architecture=native.architecture,
        task=task,
        parameter_count=native.parameter_count,
        stored_dtype=Dtype.BF16 if packed else Dtype(native.stored_dtype),
        weights_bytes=native.stored_bytes,
        max_context_length=native.max_context_length,
        size_class=_allocator.size_class(native.parameter_count),
        digest=digest,
        signature=signature_for(task, embedding_width=native.embedding_width, label_count=native.label_count),
    )
    return Checkpoint(
        facts=facts,
        has_weights=native.has_weights,
        files=tuple(native.files),
        native=native,
        default_shape=ServingShape(
            dtype=facts.stored_dtype,
            context_length=facts.max_context_length,
            max_concurrency=DEFAULT_MAX_CONCURRENCY,
            engine=DEFAULT_KIND.name,
            weights_format=native.stored_dtype if packed else "",
        ),
        is_served=native.is_served,
        weight_format=native.stored_dtype,
        mtp_parameter_count=native.mtp_parameter_count,
    )


def _with_sentence_length(checkpoint: Checkpoint, directory: Path) -> Checkpoint:
    """Return a checkpoint with sentence-transformers' length as its default context.

    Only an embedding's is shortened, to where sentence-transformers would cut its texts; a caller may ask for more.
    """
    longest = max_seq_length(directory, _read) if checkpoint.facts.task is Task.EMBEDDING else None
    shape = checkpoint.default_shape
    if longest is None or longest >= shape.context_length:
        return checkpoint
    return replace(checkpoint, default_shape=replace(shape, context_length=longest))


def _read(path: Path, limit: int) -> bytes:
    """Return a small regular file's content.

    Raises:
        SourceCorruptError: it is missing, unreadable or larger than ``limit`` bytes.
    """
    try:
        if not path.is_file():
            raise SourceCorruptError(f"{path.name} does not exist", subject="source_uri")
        # It may be another one by now: a pipe is refused, and never waited for.
        with os.fdopen(_allocator.open_beneath(_ANY_ROOT, path.resolve().relative_to(_ANY_ROOT)), "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SourceCorruptError(f"{path.name} cannot be read: {error.strerror}", subject="source_uri") from error
    if len(content) > limit:
        raise SourceCorruptError(f"{path.name} has more than {limit} bytes", subject="source_uri")
    return content
