"""Screens requests on the wire before they are parsed.

Those that would cost more to parse than they may are refused.

A message of 4 MiB can hold two million empty tensors, parameters or elements: parsing it takes a second of the loop and hundreds of MiB.
The look takes microseconds: it goes from field to field by their lengths, enters tensors and their contents only, and stops at a limit.
https://protobuf.dev/programming-guides/encoding/ has the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from echoplane.inference import grpc_service_pb2 as oip

SMALL_BYTES: Final = 16 * 1024
"""Smaller messages are parsed as they are; of larger ones so much may be something else than tensors."""

_MAX_TENSORS: Final = 16  # more than any model takes
_MAX_INT_BYTES: Final = 10  # of a varint
_MAX_CUT: Final = 64  # times the context that a sequence may have which the caller allows to be cut
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

_REQUEST = oip.ModelInferRequest
_INPUTS: Final = _REQUEST.INPUTS_FIELD_NUMBER
_RAW: Final = _REQUEST.RAW_INPUT_CONTENTS_FIELD_NUMBER
_PARAMETERS: Final = _REQUEST.PARAMETERS_FIELD_NUMBER
_CONTENTS: Final = _REQUEST.InferInputTensor.CONTENTS_FIELD_NUMBER
_INT64: Final = oip.InferTensorContents.INT64_CONTENTS_FIELD_NUMBER
_TEXTS: Final = oip.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Unread:
    """What stands in the place of a request that was not parsed.

    Attributes:
        why: reason, as its caller is told.
    """

    why: str


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a version takes at most.

    Attributes:
        sequences: most sequences in one request.
        tokens: most tokens of one sequence.
    """

    sequences: int
    tokens: int


class _RefusedError(Exception):
    """The message is not worth parsing."""


def reader(limits: Callable[[], BatchLimits | None]) -> Callable[[bytes], oip.ModelInferRequest | Unread]:
    """Return the function that makes a request of a message.

    ``limits``: of the version that is served now, None: of none.
    """

    def read(data: bytes) -> oip.ModelInferRequest | Unread:
        served = limits()
        try:
            if served is not None:
                check_wire(data, served)
            return oip.ModelInferRequest.FromString(data)
        except _RefusedError as error:
            return Unread(str(error))
        except DecodeError:
            return Unread("the message is no ModelInferRequest")

    return read


def check_wire(data: bytes, limits: BatchLimits) -> None:
    """Raise where parsing a message would cost more than what it may ask for."""
    if len(data) <= SMALL_BYTES:
        return
    look = _WireCheck(limits)
    for number, start, stop in _fields(data, 0, len(data)):
        if number == _INPUTS:
            look.tensor(data, start, stop)
        elif number == _RAW:
            look.count_tensor()
        else:
            look.may_be_cut |= number == _PARAMETERS and b"truncate" in data[start:stop]
            look.count_other(stop - start)
    look.finish()


class _WireCheck:
    """What was seen of one message so far."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._tensors = 0
        self._other_bytes = 0
        self._int_bytes = 0
        self.may_be_cut = False

    def tensor(self, data: bytes, start: int, stop: int) -> None:
        """Look at one input."""
        self.count_tensor()
        for number, inner, end in _fields(data, start, stop):
            if number == _CONTENTS:
                self._contents(data, inner, end)
            else:
                self.count_other(end - inner)

    def _contents(self, data: bytes, start: int, stop: int) -> None:
        texts = 0
        for number, inner, end in _fields(data, start, stop):
            if number == _TEXTS:
                texts += 1
                if texts > self._limits.sequences:
                    raise _RefusedError(
                        f"the batch has more sequences than this version's max_concurrency, {self._limits.sequences}"
                    )
            elif number == _INT64 and end > inner:
                self._int_bytes = max(self._int_bytes, end - inner)
            else:
                self.count_other(end - inner)

    def count_tensor(self) -> None:
        """Count one input, or one raw content."""
        self._tensors += 1
        if self._tensors > 2 * _MAX_TENSORS:
            raise _RefusedError(f"the request has more than {_MAX_TENSORS} inputs, or raw_input_contents")

    def count_other(self, size: int) -> None:
        """Count the bytes of a field that holds no tensor contents.

        That is what is neither a text, nor raw contents, nor a run of integers; a field takes 2 bytes at least.
        """
        self._other_bytes += size + 2
        if self._other_bytes > SMALL_BYTES:
            raise _RefusedError(
                f"the request has more than {SMALL_BYTES} bytes beside its tensors' contents; names, parameters and shapes take a few"
            )

    def finish(self) -> None:
        """Check what can be told at the end alone."""
        tokens = self._limits.tokens * (_MAX_CUT if self.may_be_cut else 1)
        if self._int_bytes > _MAX_INT_BYTES * self._limits.sequences * tokens:
            raise _RefusedError(
                f"int64_contents have {self._int_bytes} bytes: more elements than this version's max_concurrency "
                f"({self._limits.sequences}) times its context_length ({self._limits.tokens})"
            )


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field between two places of a message.

    A field that has no length ends where it starts.
    """
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        size = 0
        if kind == _BYTES:
            size, at = _varint(data, at, end)
        elif kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise _RefusedError("the message is no ModelInferRequest")
        if at + size > end:
            raise _RefusedError("the message is cut short")
        yield tag >> 3, at, at + size
        at += size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = 0
    for shift in range(0, 7 * _MAX_INT_BYTES, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _RefusedError("the message is cut short")
