"""Native exceptions and file-system errors as errors that callers may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from echoplaned import _allocator
from echoplaned.core.errors import (
    ArchitectureUnsupportedError,
    DaemonError,
    DtypeUnsupportedError,
    FieldInvalidError,
    LimitExceededError,
    SourceChangedError,
    SourceCorruptError,
    SourceIncompleteError,
    SourceNotAllowedError,
    SourceUnsafeError,
    SourceUnsupportedError,
)
from echoplaned.core.failure import InvalidField


def _corrupt(text: str) -> DaemonError:
    return SourceCorruptError(text, subject="source_uri", accepted="a complete checkpoint whose files agree")


def _changed(text: str) -> DaemonError:
    return SourceChangedError(
        text, subject="source_uri", accepted="files that nobody writes: try again when they are complete"
    )


def _stopped(text: str) -> DaemonError:
    return LimitExceededError("digests", text)


def _unsafe(text: str) -> DaemonError:
    return SourceUnsafeError(text, subject="source_uri", accepted="safetensors weights")


def _incomplete(text: str) -> DaemonError:
    return SourceIncompleteError(text, subject="source_uri", accepted="the files themselves")


def _unsupported(text: str) -> DaemonError:
    return SourceUnsupportedError(text, subject=": ".join(text.split(": ")[:2]))


def _outside(text: str) -> DaemonError:
    return SourceNotAllowedError(text, subject="source_uri", accepted="files beneath an allowed root, links followed")


def _architecture(text: str) -> DaemonError:
    return ArchitectureUnsupportedError(text, subject="config.json", accepted="an architecture of the catalogue")


def _dtype(text: str) -> DaemonError:
    return DtypeUnsupportedError(text, subject="dtype", accepted="FP32, FP16 or BF16; INT8 of models made of nn.Linear")


def _field(field: str) -> Callable[[str], DaemonError]:
    return lambda text: FieldInvalidError(InvalidField(field, text))


_TABLE: Final[dict[type[_allocator.AllocatorError], Callable[[str], DaemonError]]] = {
    _allocator.FileMissingError: _corrupt,
    _allocator.FileUnreadableError: _corrupt,
    _allocator.FileTooLargeError: _corrupt,
    _allocator.FilesTooLargeError: _corrupt,
    _allocator.SourceUnsafeError: _unsafe,
    _allocator.SourceUnsupportedError: _unsupported,
    _allocator.SourceIncompleteError: _incomplete,
    _allocator.OutsideRootError: _outside,
    _allocator.HeaderTruncatedError: _corrupt,
    _allocator.HeaderTooLargeError: _corrupt,
    _allocator.HeaderInvalidError: _corrupt,
    _allocator.DtypeUnknownError: _dtype,
    _allocator.DtypeUnsupportedError: _dtype,
    _allocator.TensorSizeError: _corrupt,
    _allocator.TensorOverlapError: _corrupt,
    _allocator.TensorGapError: _corrupt,
    _allocator.TensorOverrunError: _corrupt,
    _allocator.TensorDuplicateError: _corrupt,
    _allocator.TensorMissingError: _corrupt,
    _allocator.TensorUnexpectedError: _architecture,
    _allocator.IndexInvalidError: _corrupt,
    _allocator.ShardMismatchError: _corrupt,
    _allocator.ConfigInvalidError: _corrupt,
    _allocator.FieldMissingError: _corrupt,
    _allocator.FieldInvalidError: _corrupt,
    _allocator.FeatureUnsupportedError: _architecture,
    _allocator.ArchitectureUnknownError: _architecture,
    _allocator.ConfigMismatchError: _corrupt,
    _allocator.QuantisationIneffectiveError: _dtype,
    _allocator.ContextInvalidError: _field("context_length"),
    _allocator.ConcurrencyInvalidError: _field("max_concurrency"),
    _allocator.SplitInvalidError: _field("options"),
    _allocator.OptionInvalidError: _field("options"),
    _allocator.BatchInvalidError: _field("max_concurrencies"),
    _allocator.EngineDtypeError: _dtype,
    _allocator.GgufMagicInvalidError: _corrupt,
    _allocator.GgufVersionUnsupportedError: _corrupt,
    _allocator.GgufHeaderTruncatedError: _corrupt,
    _allocator.GgufLimitExceededError: _corrupt,
    _allocator.GgufFieldInvalidError: _corrupt,
    _allocator.GgufKindUnknownError: _dtype,
    _allocator.GgufTensorOverlapError: _corrupt,
    _allocator.GgufTensorGapError: _corrupt,
    _allocator.GgufTensorOverrunError: _corrupt,
    _allocator.GgufDuplicateError: _corrupt,
    _allocator.ArithmeticOverflowError: _corrupt,
    _allocator.NameUnknownError: _field("engine"),
    _allocator.ReadingInvalidError: _field("readings"),
    _allocator.DeviceDuplicateError: _field("devices"),
    _allocator.ReplicasInvalidError: _field("replicas"),
    _allocator.OverrideInvalidError: _field("reservoir"),
    _allocator.DigestUnreadableError: _corrupt,
    _allocator.DigestChangedError: _changed,
    _allocator.DigestStoppedError: _stopped,
    _allocator.NodeDuplicateError: _field("nodes"),
    _allocator.NodeUnknownError: _field("nodes"),
    _allocator.NodeInvalidError: _field("nodes"),
    _allocator.ItemDuplicateError: _field("items"),
    _allocator.ItemUnknownError: _field("items"),
    _allocator.ItemInvalidError: _field("items"),
    _allocator.PlaceInvalidError: _field("items"),
    _allocator.VectorInvalidError: _field("sizes"),
    _allocator.ResidentDuplicateError: _field("residents"),
    _allocator.AdvantageInvalidError: _field("advantage"),
}


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn every exception of the native module into the error that has its reason.

    A panic of the native module stays as it is: it is a mistake of ours.
    A file that may not be looked at (its directory has no rights for this user) is reported like one that cannot be read.
    """
    try:
        yield
    except OSError as error:
        name = Path(str(error.filename)).name if error.filename else "a file"
        raise _corrupt(f"{name} cannot be read: {(error.strerror or type(error).__name__).lower()}") from error
    except _allocator.NativePanicError:
        raise
    except _allocator.AllocatorError as error:
        raise _TABLE[type(error)](str(error)) from error
