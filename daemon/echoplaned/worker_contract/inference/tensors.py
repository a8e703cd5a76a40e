"""Converts tensors of the Open Inference Protocol (OIP) to and from Python.

Typed contents and raw contents (little-endian, BYTES with a length before each).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.oip_codec import RAW_FORMATS, TYPED_FIELDS, ContentsError, join_bytes, split_bytes
from echoplaned.core.facts import Signature, TensorSpec
from echoplaned.worker_contract.inference.errors import InvalidInputError

Tensor = npt.NDArray[np.int64] | npt.NDArray[np.float32] | npt.NDArray[np.float32 | np.float16] | list[bytes]
InputTensor = oip.ModelInferRequest.InferInputTensor

_MAX_SHOWN: Final = 8  # dimensions in a message
_CHUNK: Final = 64 * 1024  # values that are read or written at once: between two chunks other work has its turn
_ITEM_BYTES: Final = 8  # of INT64
_DATATYPES: Final = {np.dtype(RAW_FORMATS[name]): name for name in ("INT64", "FP32", "FP16")}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The tensors of a request.

    Attributes:
        tensors: values by the input's name.
        raw: whether they came as raw contents, and the answer goes back the same way.
    """

    tensors: dict[str, Tensor]
    raw: bool


def describe(specs: Sequence[TensorSpec]) -> str:
    """Write tensors as a caller may read them: ``text BYTES[-1], ...``."""
    return ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in specs)


def check_inputs(request: oip.ModelInferRequest, signature: Signature) -> dict[str, InputTensor]:
    """Check everything about a request's tensors but their values.

    The time it takes does not depend on their size.

    Raises:
        InvalidInputError: a name, dtype, shape or size is not what the model takes; the message says what is.
    """
    raw = len(request.raw_input_contents) > 0
    if raw and len(request.raw_input_contents) != len(request.inputs):
        raise InvalidInputError(
            f"{len(request.inputs)} inputs but {len(request.raw_input_contents)} raw_input_contents; one each is needed"
        )
    accepted = {spec.name: spec for spec in signature.inputs}
    found: dict[str, InputTensor] = {}
    for index, tensor in enumerate(request.inputs):
        spec = accepted.get(tensor.name)
        if spec is None:
            raise InvalidInputError(f"there is no input {tensor.name[:64]!r}; accepted: {describe(signature.inputs)}")
        if tensor.name in found:
            raise InvalidInputError(f"input {tensor.name} comes twice")
        _check_shape(tensor, spec)
        if raw and tensor.HasField("contents"):
            raise InvalidInputError(f"input {tensor.name} has contents beside raw_input_contents; send one of them")
        if raw:
            _check_raw(tensor, request.raw_input_contents[index])
        else:
            _check_typed(tensor)
        found[tensor.name] = tensor
    return found


def read_inputs(request: oip.ModelInferRequest, signature: Signature) -> Inputs:
    """Take a request's tensors apart.

    Raises:
        InvalidInputError: a name, dtype, shape or size is not what the model takes; the message says what is.
    """
    check_inputs(request, signature)
    raw = len(request.raw_input_contents) > 0
    tensors = {
        tensor.name: _read_raw(tensor, request.raw_input_contents[index]) if raw else _read_typed(tensor)
        for index, tensor in enumerate(request.inputs)
    }
    return Inputs(tensors, raw)


def _check_shape(tensor: InputTensor, spec: TensorSpec) -> None:
    """Raise unless dtype, number of dimensions and sizes are as specified."""
    # A shape may itself be the size of a message: it is read only where it has the right number of dimensions.
    shape = tuple(tensor.shape) if len(tensor.shape) == len(spec.shape) else tuple(tensor.shape[:_MAX_SHOWN])
    fits = len(tensor.shape) == len(spec.shape) and all(
        size > 0 and wanted in {-1, size} for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if tensor.datatype != spec.datatype or not fits:
        raise InvalidInputError(
            f"input {spec.name} is {tensor.datatype[:16]}{list(shape)[:_MAX_SHOWN]}; accepted: {describe((spec,))} with sizes of 1 or more"
        )


def _count(tensor: InputTensor) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def _check_typed(tensor: InputTensor) -> None:
    """Raise unless typed contents have as many elements as the shape says."""
    contents = tensor.contents
    values: Sequence[bytes] | Sequence[int] = (
        contents.bytes_contents if tensor.datatype == "BYTES" else contents.int64_contents
    )
    if len(values) != _count(tensor):
        raise InvalidInputError(
            f"input {tensor.name} has {len(values)} elements in contents.{TYPED_FIELDS[tensor.datatype]}; its shape says {_count(tensor)}"
        )


def _check_raw(tensor: InputTensor, data: bytes) -> None:
    """Raise unless raw contents have the size that the shape says.

    The size of BYTES is in the contents themselves.
    """
    wanted = _count(tensor) * _ITEM_BYTES
    if tensor.datatype != "BYTES" and len(data) != wanted:
        raise InvalidInputError(f"input {tensor.name} has {len(data)} raw bytes; its shape says {wanted}")


def _read_typed(tensor: InputTensor) -> Tensor:
    """Read typed contents."""
    contents = tensor.contents
    if tensor.datatype == "BYTES":
        return list(contents.bytes_contents)
    values = np.empty(len(contents.int64_contents), dtype=np.int64)
    for start in range(0, len(values), _CHUNK):
        values[start : start + _CHUNK] = contents.int64_contents[start : start + _CHUNK]
    return values.reshape(tuple(tensor.shape))


def _read_raw(tensor: InputTensor, data: bytes) -> Tensor:
    """Read raw contents."""
    if tensor.datatype == "BYTES":
        try:
            return list(split_bytes(data, _count(tensor)))
        except ContentsError as error:
            raise InvalidInputError(f"input {tensor.name}: {error}") from error
    return np.frombuffer(data, dtype=RAW_FORMATS["INT64"]).astype(np.int64).reshape(tuple(tensor.shape))


def write_output(response: oip.ModelInferResponse, name: str, tensor: Tensor, *, raw: bool) -> None:
    """Append one output to a response."""
    for _ in output_steps(response, name, tensor, raw=raw):
        pass


def output_steps(response: oip.ModelInferResponse, name: str, tensor: Tensor, *, raw: bool) -> Iterator[None]:
    """Append one output to a response; yield between steps of some milliseconds.

    Most outputs are written in one.
    """
    output = response.outputs.add(name=name)
    if isinstance(tensor, list):
        output.datatype = "BYTES"
        output.shape.append(len(tensor))
        if raw:
            response.raw_output_contents.append(join_bytes(tensor))
        else:
            output.contents.bytes_contents.extend(tensor)
        return
    output.shape.extend(tensor.shape)
    output.datatype = _DATATYPES[tensor.dtype]
    if raw:
        response.raw_output_contents.append(tensor.astype(RAW_FORMATS[output.datatype]).tobytes())
    else:
        values, contents = tensor.ravel(), getattr(output.contents, TYPED_FIELDS[output.datatype])
        for start in range(0, len(values), _CHUNK):
            if start:
                yield
            contents.extend(values[start : start + _CHUNK].tolist())
