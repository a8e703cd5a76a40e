"""Inference requests and answers as plain Python lists.

The Open Inference Protocol's tensors stay in here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.oip_codec import TYPED_FIELDS, split_bytes, split_numbers

Parameter = bool | int | float | str
Values = list["Values"] | list[float] | list[int] | list[bool] | list[str] | list[bytes]
Scalar = float | int | bool | str | bytes


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a model: texts, or token ids.

    Attributes:
        texts: inputs as text; empty: ``token_ids`` are given.
        token_ids: one list a sequence, shorter ones are padded and masked; empty: ``texts`` are given.
        parameters: of the request, for example how many tokens to generate.
        version: version that answers; empty: the route's choice.
    """

    texts: Sequence[str] = ()
    token_ids: Sequence[Sequence[int]] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        if bool(self.texts) == bool(self.token_ids):
            raise ValueError("give texts or token_ids, one of them and not empty")
        if any(len(ids) == 0 for ids in self.token_ids):
            raise ValueError("a sequence of token_ids is empty")
        for number, text in enumerate(self.texts, start=1):
            _check_text(f"text {number}", text)
        for ids in self.token_ids:
            for token in ids:
                _check_whole("a token id", token)
        for name, value in self.parameters.items():
            _check_text("the name of a parameter", name)
            if isinstance(value, str):
                _check_text(f"the parameter {name}", value)
            elif isinstance(value, int):
                _check_whole(f"the parameter {name}", value)


def _check_text(what: str, text: str) -> None:
    """Refuse a text that no message can hold, as one that came as no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} has no whole character at {error.start}: it must be text that UTF-8 can write"
        ) from error


def _check_whole(what: str, number: int) -> None:
    """Refuse a number that no message can hold."""
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{what} cannot be sent: whole numbers go from {-(2**63)} to {2**63 - 1}")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output of a model.

    Attributes:
        name: what the model calls it.
        datatype: type of its values as the protocol names it, for example ``FP32``.
        shape: sizes of its dimensions, the outermost first.
        values: nested lists of ``shape``, BYTES as text where it is UTF-8.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        model: name of the model.
        version: version that answered, by the trailer ``echoplane-version``, else by the message.
        outputs: output tensors by name.
    """

    model: str
    version: str
    outputs: Mapping[str, Tensor]


def build_request(model: str, query: Query) -> oip.ModelInferRequest:
    """Return the protocol's request for a query."""
    request = oip.ModelInferRequest(model_name=model, model_version=query.version)
    if query.texts:
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(query.texts)])
        tensor.contents.bytes_contents.extend(text.encode() for text in query.texts)
    else:
        _add_tokens(request, query.token_ids)
    for name, value in query.parameters.items():
        _set_parameter(request.parameters[name], value)
    return request


def _add_tokens(request: oip.ModelInferRequest, token_ids: Sequence[Sequence[int]]) -> None:
    longest = max(len(ids) for ids in token_ids)
    shape = [len(token_ids), longest]
    ids_tensor = request.inputs.add(name="input_ids", datatype="INT64", shape=shape)
    mask_tensor = request.inputs.add(name="attention_mask", datatype="INT64", shape=shape)
    for ids in token_ids:
        padding = [0] * (longest - len(ids))
        ids_tensor.contents.int64_contents.extend([*ids, *padding])
        mask_tensor.contents.int64_contents.extend([*([1] * len(ids)), *padding])


def _set_parameter(parameter: oip.InferParameter, value: Parameter) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value


def read_answer(response: oip.ModelInferResponse, trailer_version: str = "") -> Answer:
    """Return a protocol's answer as lists.

    Raises:
        ValueError: the answer disagrees with itself (sizes, an unknown datatype).
    """
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise ValueError(f"the answer has {len(response.outputs)} outputs and {len(raw)} raw contents")
    outputs = {
        output.name: _read_tensor(output, raw[index] if raw else None) for index, output in enumerate(response.outputs)
    }
    return Answer(response.model_name, trailer_version or response.model_version, outputs)


def _read_tensor(output: oip.ModelInferResponse.InferOutputTensor, raw: bytes | None) -> Tensor:
    shape = tuple(output.shape)
    flat = _read_typed(output) if raw is None else _read_raw(output.datatype, raw)
    count = 1
    for size in shape:
        count *= size
    if len(flat) != count:
        raise ValueError(f"output {output.name} has {len(flat)} elements; its shape {list(shape)} says {count}")
    return Tensor(output.name, output.datatype, shape, _nest(flat, shape))


def _read_typed(output: oip.ModelInferResponse.InferOutputTensor) -> list[Scalar]:
    contents = TYPED_FIELDS.get(output.datatype)
    if contents is None:
        raise ValueError(f"output {output.name} has datatype {output.datatype}, which has no typed contents")
    return [_text(value) for value in getattr(output.contents, contents)]


def _read_raw(datatype: str, raw: bytes) -> list[Scalar]:
    if datatype == "BYTES":
        return [_text(element) for element in split_bytes(raw)]
    return list(split_numbers(datatype, raw))


def _text(value: Scalar) -> Scalar:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _nest(flat: list[Scalar], shape: tuple[int, ...]) -> Values:
    """Fold a flat list into lists of lists; innermost dimension last."""
    values: list[object] = list(flat)
    for size in reversed(shape[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)] if size else []
    return values  # type: ignore[return-value]  # a recursive list type cannot be built step by step
