"""What a checkpoint's files say about a model, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What a model is served for; decides its signature."""

    EMBEDDING = "EMBEDDING"
    CLASSIFICATION = "CLASSIFICATION"
    GENERATION = "GENERATION"


class Dtype(StrEnum):
    """Weight dtypes that an engine can be asked for."""

    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"
    INT8 = "INT8"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, datatype and shape of one input or output of a model.

    Attributes:
        name: name of the tensor.
        datatype: as the Open Inference Protocol names it, for example ``BYTES``, ``INT64``, ``FP32``.
        shape: elements of each dimension; -1: any number.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """The tensors that a model takes and gives; two versions of it must agree on them.

    Attributes:
        inputs: what a request may hold.
        outputs: what an answer holds.
    """

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a checkpoint as it was when it was read.

    One that was written or replaced since differs in the last three.

    Attributes:
        name: its path within the checkpoint.
        path: its path beneath the root, free of links.
        size_bytes: its length.
        inode: its number on its file system.
        change_time_ns: when its content or its inode last changed, nanoseconds since the epoch; no caller can set it.
    """

    name: str
    path: str
    size_bytes: int
    inode: int
    change_time_ns: int


@dataclass(frozen=True, slots=True)
class SourceContent:
    """Every file of a checkpoint that an engine will read.

    Attributes:
        root: the directory that no path leads out of.
        files: beneath it, by name.
    """

    root: str
    files: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What was read from a checkpoint directory.

    Attributes:
        architecture: class that the config names.
        task: what it is served for.
        parameter_count: of all tensors.
        stored_dtype: of most of the parameters' bytes.
        weights_bytes: tensor bytes on disk.
        max_context_length: tokens, from the position table or the config.
        size_class: small, medium or large.
        digest: content of every file that the engine will read, ``blake3:<hex>``.
        signature: what requests and answers look like.
        content: these files as they were then; None: a release read them that kept the digest alone.
    """

    architecture: str
    task: Task
    parameter_count: int
    stored_dtype: Dtype
    weights_bytes: int
    max_context_length: int
    size_class: str
    digest: str
    signature: Signature
    content: SourceContent | None = None
