"""Translates the Open Inference Protocol's REST form to gRPC's and back.

https://github.com/kserve/open-inference-protocol has the protocol, Triton's ``extension_binary_data.md`` how tensors stand behind the JSON.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.oip_codec import RAW_FORMATS, join_bytes
from echoplaned.core.facts import TensorSpec
from echoplaned.core.numbers import read_whole
from echoplaned.worker.http.fields import Fields, as_text
from echoplaned.worker.http.json_pieces import PIECE_FLOATS, Chunks, is_large
from echoplaned.worker.worker import Serving
from echoplaned.worker_contract.inference.errors import FieldError
from echoplaned.worker_contract.inference.requests import check_allowed
from echoplaned.worker_contract.inference.tensors import Tensor

BINARY_HEADER: Final = "inference-header-content-length"
_MAX_TENSORS: Final = 16
_MAX_PARAMETERS: Final = 64
_MAX_SHAPE: Final = 8
_MAX_SIZE: Final = 2**31
_INT64: Final = 2**63
_DATATYPES: Final = ("BYTES", "INT64")
_MAX_SHOWN: Final = 64  # characters of a name, in an error
_BINARY: Final = "binary_data"
_BINARY_SIZE: Final = "binary_data_size"
_BINARY_OUTPUT: Final = "binary_data_output"


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request as gRPC callers send it, and how its answer goes back.

    Attributes:
        message: the request.
        binary: outputs that go back as binary data, by name; what is not named goes as ``is_binary``.
        is_binary: whether outputs go back as binary data unless they say otherwise.
    """

    message: oip.ModelInferRequest
    binary: Mapping[str, bool]
    is_binary: bool


def split_body(body: bytes, header: str | None) -> tuple[bytes, bytes]:
    """Return a body's JSON and the binary data behind it.

    Raises:
        FieldError: the header is no length, or is longer than the body.
    """
    if header is None:
        return body, b""
    length = read_whole(header)
    if length is None or length > len(body):
        raise FieldError("Inference-Header-Content-Length", "must be the length of the JSON before the binary data")
    return body[:length], body[length:]


def read_request(data: Mapping[str, Any], binary: bytes, model: str, version: str) -> RestRequest:
    """Read a request to infer.

    Raises:
        CallError: a field is missing, not taken, or out of range.
    """
    fields = Fields(data)
    message = oip.ModelInferRequest(model_name=model, model_version=version, id=fields.text("id") or "")
    parameters = _parameters(fields, message)
    tensors = fields.children("inputs", _MAX_TENSORS)
    if binary or any(_binary_size(one) is not None for one in tensors):
        _read_binary(tensors, binary, message)
    else:
        for one in tensors:
            tensor = _read_head(one, message)
            _fill(tensor, _values(one, tensor))
            one.finish()
    wanted = _outputs(fields, message)
    fields.finish()
    return RestRequest(message, wanted, parameters.get(_BINARY_OUTPUT) is True)


def _parameters(fields: Fields, message: oip.ModelInferRequest) -> Mapping[str, Any]:
    """Read parameters of the request into the message."""
    given = fields.child("parameters")
    if given is None:
        return {}
    found: dict[str, Any] = dict(fields.take("parameters"))
    if len(found) > _MAX_PARAMETERS:
        raise FieldError("parameters", f"has {len(found)} entries; there are at most {_MAX_PARAMETERS}")
    for name, value in found.items():
        parameter = message.parameters[as_text("parameters", name)]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int) and -_INT64 <= value < _INT64:
            parameter.int64_param = value
        elif isinstance(value, float):
            parameter.double_param = value
        elif isinstance(value, str):
            parameter.string_param = as_text(f"parameters.{name[:64]}", value)
        else:
            raise FieldError(f"parameters.{name[:64]}", "must be true or false, a number or a text")
    check_allowed(message.parameters)
    return found


def _read_head(fields: Fields, message: oip.ModelInferRequest) -> oip.ModelInferRequest.InferInputTensor:
    """Read a tensor's name, shape and datatype into the message."""
    shape = fields.require("shape")
    sizes_fit = isinstance(shape, list) and len(shape) <= _MAX_SHAPE
    if not sizes_fit or not all(type(size) is int and 0 <= size < _MAX_SIZE for size in shape):
        raise FieldError(fields.name("shape"), f"must be a list of at most {_MAX_SHAPE} sizes")
    datatype = as_text(fields.name("datatype"), fields.require("datatype"))
    if datatype not in _DATATYPES:
        raise FieldError(fields.name("datatype"), f"must be one of {', '.join(_DATATYPES)}, not {datatype[:16]!r}")
    name = as_text(fields.name("name"), fields.require("name"))
    return message.inputs.add(name=name, datatype=datatype, shape=shape)


def _values(fields: Fields, tensor: oip.ModelInferRequest.InferInputTensor) -> list[Any]:
    """Return the elements of a tensor's JSON data, row by row."""
    data = fields.require("data")
    kind: type = str if tensor.datatype == "BYTES" else int
    if not isinstance(data, list):
        raise FieldError(fields.name("data"), "must be a list")
    values = _flatten(fields.name("data"), data, tuple(tensor.shape))
    good = all(type(one) is kind for one in values)
    if good and kind is int:
        good = all(-_INT64 <= one < _INT64 for one in values)
    if not good:
        words = "texts" if kind is str else "whole numbers of 64 bits"
        raise FieldError(fields.name("data"), f"must hold {words}, for {tensor.datatype}")
    _check_parameters(fields)
    return values


def _flatten(name: str, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Return the elements of a tensor's data, flat or nested as its shape says.

    Raises:
        FieldError: it is nested in another way, or its shape says another number of elements.
    """
    is_nested = bool(data) and isinstance(data[0], list)
    values = _join(data, shape) if is_nested else data
    if values is None:
        raise FieldError(name, f"must be flat, or nested as its shape says, {list(shape)}")
    if len(values) != math.prod(shape):
        raise FieldError(name, f"has {len(values)} elements; its shape says {math.prod(shape)}")
    return values


def _join(data: list[Any], shape: tuple[int, ...]) -> list[Any] | None:
    """Join nested lists, level by level; None: their lengths are not the shape's.

    Lists are counted before what they hold is looked at: whatever is nested otherwise costs no pass over its elements.
    """
    if len(shape) < 2 or len(data) != shape[0]:
        return None
    for size in shape[1:]:
        if not all(isinstance(one, list) and len(one) == size for one in data):
            return None
        data = list(itertools.chain.from_iterable(data))
    return data


def _fill(tensor: oip.ModelInferRequest.InferInputTensor, values: list[Any]) -> None:
    if tensor.datatype == "BYTES":
        tensor.contents.bytes_contents.extend(as_text(tensor.name[:_MAX_SHOWN], one).encode() for one in values)
    else:
        tensor.contents.int64_contents.extend(values)


def _read_binary(tensors: list[Fields], binary: bytes, message: oip.ModelInferRequest) -> None:
    """Take tensors from the binary data behind the JSON, in their order.

    A tensor that came as JSON is put beside them in the same form.
    """
    at = 0
    for one in tensors:
        tensor = _read_head(one, message)
        size = _binary_size(one)
        if size is None:
            message.raw_input_contents.append(_pack(tensor, _values(one, tensor)))
        else:
            if one.take("data") is not None:
                raise FieldError(one.name("data"), f"comes beside parameters.{_BINARY_SIZE}; send one of them")
            message.raw_input_contents.append(binary[at : at + size])
            at += size
        one.finish()
    if at != len(binary):
        raise FieldError("inputs", f"name {at} bytes of binary data; {len(binary)} came")


def _pack(tensor: oip.ModelInferRequest.InferInputTensor, values: list[Any]) -> bytes:
    if tensor.datatype == "BYTES":
        return join_bytes(as_text(tensor.name[:_MAX_SHOWN], one).encode() for one in values)
    return np.array(values, dtype=RAW_FORMATS[tensor.datatype]).tobytes()


def _binary_size(fields: Fields) -> int | None:
    parameters = fields.child("parameters")
    size = None if parameters is None else parameters.whole(_BINARY_SIZE, 0, _MAX_SIZE)
    if parameters is not None:
        parameters.finish()
    return size


def _check_parameters(fields: Fields) -> None:
    if _binary_size(fields) is not None:
        raise FieldError(fields.name("data"), f"comes beside parameters.{_BINARY_SIZE}; send one of them")


def _outputs(fields: Fields, message: oip.ModelInferRequest) -> Mapping[str, bool]:
    """Read the wanted outputs; return which go back as binary data."""
    if fields.take("outputs") is None:
        return {}
    binary: dict[str, bool] = {}
    for one in fields.children("outputs", _MAX_TENSORS):
        name = as_text(one.name("name"), one.require("name"))
        message.outputs.add(name=name)
        parameters = one.child("parameters")
        if parameters is not None:
            if parameters.take(_BINARY) is not None:
                binary[name] = parameters.truth(_BINARY)
            parameters.finish({"classification": (0,)})
        one.finish()
    return binary


def write_response(
    serving: Serving, request: RestRequest, names: Sequence[str], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], bytes]:
    """Return an answer's JSON, and the binary data behind it.

    Large data in the JSON are ``Chunks``.
    """
    here = serving.model.options.instance.version
    head: dict[str, Any] = {"model_name": here.model, "model_version": here.version}
    if request.message.id:
        head["id"] = request.message.id
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for name in names:
        if name not in tensors:
            continue
        output, raw = _write_output(name, tensors[name], is_binary=request.binary.get(name, request.is_binary))
        outputs.append(output)
        behind.append(raw)
    return {**head, "outputs": outputs}, b"".join(behind)


def _write_output(name: str, tensor: Tensor, *, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    if isinstance(tensor, list):
        head: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [len(tensor)]}
        raw = join_bytes(tensor)
        data: list[Any] | Chunks = [] if is_binary else [one.decode("utf-8", errors="replace") for one in tensor]
    else:
        datatype = "INT64" if tensor.dtype.kind == "i" else "FP32"
        head = {"name": name, "datatype": datatype, "shape": list(tensor.shape)}
        raw = tensor.astype(RAW_FORMATS[datatype]).tobytes()
        data = [] if is_binary else _numbers(tensor.ravel())
    if is_binary:
        return {**head, "parameters": {_BINARY_SIZE: len(raw)}}, raw
    return {**head, "data": data}, b""


def _numbers(values: npt.NDArray[Any]) -> list[Any] | Chunks:
    if not is_large(len(values), PIECE_FLOATS):
        return list(values.tolist())
    return Chunks(values[at : at + PIECE_FLOATS].tolist() for at in range(0, len(values), PIECE_FLOATS))


def server_metadata() -> dict[str, Any]:
    """Return what ``GET /v2`` answers."""
    return {"name": "echoplane", "version": distribution_version("echoplaned"), "extensions": ["binary_tensor_data"]}


def model_metadata(serving: Serving) -> dict[str, Any]:
    """Return the model's tensors; ``text`` and ``input_ids`` are alternatives."""
    here, signature = serving.model.options.instance.version, serving.model.signature
    return {
        "name": here.model,
        "versions": [here.version],
        "platform": "echoplane_torch",
        "inputs": list(map(_write_spec, signature.inputs)),
        "outputs": list(map(_write_spec, signature.outputs)),
    }


def _write_spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def split_path(path: str) -> tuple[str, str, str] | None:
    """Return model, version and action of a path beneath ``/v2/models/``.

    The version may be empty. None: it is no such path.
    """
    parts = path.removeprefix("/v2/models/").split("/")
    if not path.startswith("/v2/models/") or not parts[0]:
        return None
    version = ""
    rest = parts[1:]
    if rest[:1] == ["versions"] and len(rest) > 1:
        version, rest = rest[1], rest[2:]
    return parts[0], version, "/".join(itertools.chain(rest))
