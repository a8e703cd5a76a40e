"""Reads and checks what one inference request asks for.

It is checked against the model's signature and the version's limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.facts import Signature, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker_contract.inference.errors import InvalidInputError, NotAllowedError, WrongModelError
from echoplaned.worker_contract.inference.lengths import byte_limit, check_length
from echoplaned.worker_contract.inference.sampling import Sampling, Scoring
from echoplaned.worker_contract.inference.tensors import Inputs, InputTensor, Tensor, check_inputs, read_inputs

_GENERATION_PARAMETERS: Final[tuple[str, ...]] = ("max_tokens", "temperature", "top_k", "seed", "score")
_SCORING_PARAMETERS: Final[tuple[str, ...]] = ("score", "distributions", "truncate", "requantised")
_ENCODER_PARAMETERS: Final[tuple[str, ...]] = ("truncate", "requantised")
# They cost many times what an answer costs: a second set of weights a step, and whole distributions of the vocabulary.
_DAEMON_PARAMETERS: Final = ("requantised", "distributions")
_DISTRIBUTION_DTYPES: Final[Mapping[str, type[np.float32 | np.float16]]] = {"FP32": np.float32, "FP16": np.float16}

DISTRIBUTIONS: Final = "log_distributions"
"""Output of a scored request that asked for it: whole distributions [sequences, tokens - 1, vocabulary], natural logs."""
# Triton's clients set these on their own; they mean nothing here.
_IGNORED_PARAMETERS: Final = frozenset(
    {
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
        "binary_data_output",
        "triton_enable_empty_final_response",
    }
)
_MAX_TEMPERATURE: Final = 100.0
_MIN_TEMPERATURE: Final = 1e-6  # below it a draw is the likeliest token, and FP32 cannot hold what is divided by it
_MAX_SEED: Final = 2**63 - 1
MAX_ID: Final = 256
"""Characters of a request's id, which is sent back."""

_MAX_OUTPUTS: Final = 16  # more than there are; some clients name one twice


class ServedShape(Protocol):
    """What a request is checked against."""

    @property
    def instance(self) -> InstanceKey:
        """Whose answer it is."""
        ...

    @property
    def task(self) -> Task:
        """What it is served for."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens of one sequence, prompt and generated together."""
        ...

    @property
    def max_concurrency(self) -> int:
        """Sequences in one request."""
        ...


@dataclass(frozen=True, slots=True)
class InferOrder:
    """A checked request. Exactly one of ``texts`` and ``rows`` is not empty.

    Attributes:
        texts: texts to tokenise, one a sequence; empty: ``rows`` are given, or no sequence was read yet.
        rows: token ids of each sequence; empty: ``texts`` are given, or no sequence was read yet.
        sampling: how tokens are generated; ``max_tokens`` 0: as many as the default and the context allow.
        outputs: names of the wanted outputs, in order.
        raw: whether the request came with raw contents and is answered with such.
        scoring: how the tokens are scored; None: they are answered.
        truncate: whether what is longer than the context is cut.
        as_int8: whether it is answered as the model in INT8 would answer.
        peer: connection that it came on; connections take turns; empty: not known.
    """

    texts: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    sampling: Sampling
    outputs: tuple[str, ...]
    raw: bool
    scoring: Scoring | None = None
    truncate: bool = False
    as_int8: bool = False
    peer: str = ""

    @property
    def size(self) -> int:
        """Sequences in the request."""
        return len(self.texts) or len(self.rows)


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that was checked but for the values of its tensors.

    Its names, shapes, counts and lengths are accepted; no value of a tensor was read.

    Attributes:
        request: request as it came.
        signature: the model's inputs and outputs.
        order: what the request asks for, without its sequences.
        elements: elements of the largest tensor.
    """

    request: oip.ModelInferRequest
    signature: Signature
    order: InferOrder
    elements: int

    def read(self) -> InferOrder:
        """Read the values.

        Raises:
            InvalidInputError: one of them is not accepted.
        """
        texts, rows = _sequences(read_inputs(self.request, self.signature))
        return replace(self.order, texts=texts, rows=rows)


def check_request(request: oip.ModelInferRequest, options: ServedShape, signature: Signature) -> CheckedRequest:
    """Check everything about a request that can be told without reading a value.

    The time it takes does not depend on the request's size.

    Raises:
        WrongModelError: another model or version is named.
        InvalidInputError: a tensor, a parameter or the batch is not accepted.
    """
    check_model(request.model_name, request.model_version, options)
    if len(request.id) > MAX_ID:
        raise InvalidInputError(f"the request's id has {len(request.id)} characters; at most {MAX_ID} are sent back")
    scoring = read_scoring(request.parameters, options)
    _check_names(request.parameters, options, scoring)
    names = tuple(spec.name for spec in signature.outputs) if scoring is None else _scored_outputs(scoring)
    order = InferOrder(
        texts=(),
        rows=(),
        sampling=read_sampling(request.parameters, options),
        outputs=_wanted_outputs(request, names),
        raw=len(request.raw_input_contents) > 0,
        scoring=scoring,
        truncate=_truth(request.parameters, "truncate"),
        as_int8=_truth(request.parameters, "requantised"),
    )
    tensors = check_inputs(request, signature)
    _check_sizes(tensors, options, order)
    if scoring is not None and scoring.distributions is np.float16 and not order.raw:
        raise InvalidInputError("FP16 has no typed contents: send raw_input_contents, or ask for distributions in FP32")
    return CheckedRequest(request, signature, order, max(math.prod(tensor.shape) for tensor in tensors.values()))


def read_order(request: oip.ModelInferRequest, options: ServedShape, signature: Signature) -> InferOrder:
    """Check everything about a request that can be told without a tokenizer.

    Raises:
        WrongModelError: another model or version is named.
        InvalidInputError: a tensor, a parameter or the batch is not accepted.
    """
    return check_request(request, options, signature).read()


def _check_sizes(tensors: Mapping[str, InputTensor], options: ServedShape, order: InferOrder) -> None:
    """Refuse a batch with too many or too long sequences, by its shapes.

    One that does not say exactly once what to compute is refused as well.
    """
    text, ids, mask = (tensors.get(name) for name in ("text", "input_ids", "attention_mask"))
    given = ids if text is None else text
    if given is None or (text is not None and ids is not None):
        raise InvalidInputError("exactly one of the inputs text and input_ids is needed")
    if text is not None and mask is not None:
        raise InvalidInputError("attention_mask goes with input_ids, not with text")
    if given.shape[0] > options.max_concurrency:
        raise InvalidInputError(
            f"the batch has {given.shape[0]} sequences; this version's max_concurrency is {options.max_concurrency}"
        )
    if mask is not None and tuple(mask.shape) != tuple(given.shape):
        raise InvalidInputError(f"attention_mask must be 0 or 1 in the shape of input_ids, {list(given.shape)}")
    if ids is not None and mask is None and not order.truncate:
        check_length(0, ids.shape[1], options.context_length)
    most = byte_limit(options.context_length)
    if text is not None and not order.raw and max(map(len, text.contents.bytes_contents)) > most:
        raise InvalidInputError(f"a text has more than {most} bytes, and none of so many is counted")


def check_allowed(parameters: Mapping[str, oip.InferParameter]) -> None:
    """Refuse a client's request that has parameters of the daemon's own.

    Raises:
        NotAllowedError: it has; the message names the first.
    """
    for name in _DAEMON_PARAMETERS:
        if name in parameters:
            raise NotAllowedError(f"parameter {name} is the daemon's own, for its checks of a version; leave it out")


def check_model(model: str, version: str, options: ServedShape) -> None:
    """Refuse the name of a model or version that this worker does not serve.

    An empty version means whichever is here.

    Raises:
        WrongModelError: another model or version is named.
    """
    here = options.instance.version
    if model != here.model or version not in {"", here.version}:
        raise WrongModelError(
            f"this instance serves model {here.model!r} version {here.version!r}, not {model[:64]!r} version {version[:64]!r}"
        )


def _sequences(inputs: Inputs) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Return a request's texts or its token ids."""
    tensors = inputs.tensors
    text, ids, mask = tensors.get("text"), tensors.get("input_ids"), tensors.get("attention_mask")
    if isinstance(text, list):
        return tuple(_decode(index, element) for index, element in enumerate(text)), ()
    return (), _masked_rows(_matrix(ids), None if mask is None else _matrix(mask))


def _matrix(tensor: Tensor | None) -> npt.NDArray[np.int64]:
    """Return an INT64 tensor as numpy holds it.

    Its dtype was checked when it was read.
    """
    return np.asarray(tensor, dtype=np.int64)


def _decode(index: int, element: bytes) -> str:
    try:
        return element.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"element {index} of text is not UTF-8") from None


def _masked_rows(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64] | None) -> tuple[tuple[int, ...], ...]:
    """Return the token ids that the attention mask keeps, row by row.

    Padding may stand before or after them, not between.
    """
    if mask is None:
        # Row by row, so that other threads have their turn between them.
        return tuple(tuple(row.tolist()) for row in ids)
    if not np.isin(mask, (0, 1)).all():
        raise InvalidInputError(f"attention_mask must be 0 or 1 in the shape of input_ids, {list(ids.shape)}")
    if (np.abs(np.diff(mask, axis=1, prepend=0, append=0)).sum(axis=1) > 2).any():
        raise InvalidInputError("attention_mask has a gap between tokens; padding stands before or after them")
    return tuple(tuple(row[keep].tolist()) for row, keep in zip(ids, mask.astype(bool), strict=True))


def _wanted_outputs(request: oip.ModelInferRequest, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the outputs to send; all of them if none is asked for."""
    if len(request.outputs) > _MAX_OUTPUTS:
        raise InvalidInputError(f"the request asks for {len(request.outputs)} outputs; there are: {', '.join(names)}")
    wanted = tuple(output.name for output in request.outputs)
    for name in wanted:
        if name not in names:
            raise InvalidInputError(f"there is no output {name[:64]!r}; there are: {', '.join(names)}")
    return tuple(dict.fromkeys(wanted)) or names


def _scored_outputs(scoring: Scoring) -> tuple[str, ...]:
    return ("token_ids", "logprobs") if scoring.distributions is None else ("token_ids", "logprobs", DISTRIBUTIONS)


def _check_names(parameters: Mapping[str, oip.InferParameter], options: ServedShape, scoring: Scoring | None) -> None:
    """Refuse parameters that mean nothing here."""
    generates = options.task is Task.GENERATION
    known = _SCORING_PARAMETERS if scoring is not None else _GENERATION_PARAMETERS if generates else _ENCODER_PARAMETERS
    for name in parameters:
        if name not in known and name not in _IGNORED_PARAMETERS:
            raise InvalidInputError(f"there is no parameter {name[:64]!r}; accepted: {', '.join(known)}")


def read_scoring(parameters: Mapping[str, oip.InferParameter], options: ServedShape) -> Scoring | None:
    """Read whether, and how, to score the tokens as they stand; None: not at all.

    Raises:
        InvalidInputError: a parameter is of another type or out of range.
    """
    if options.task is not Task.GENERATION or not _truth(parameters, "score"):
        return None
    if "distributions" not in parameters:
        return Scoring()
    name = parameters["distributions"].string_param
    if name not in _DISTRIBUTION_DTYPES:
        raise InvalidInputError(
            f"parameter distributions must be one of (string_param) {', '.join(_DISTRIBUTION_DTYPES)}"
        )
    return Scoring(_DISTRIBUTION_DTYPES[name])


def read_sampling(parameters: Mapping[str, oip.InferParameter], options: ServedShape) -> Sampling:
    """Read how to generate from a request's parameters.

    Raises:
        InvalidInputError: a parameter is of another type or out of range.
    """
    if options.task is not Task.GENERATION:
        return Sampling()
    has_seed = "seed" in parameters
    return Sampling(
        max_tokens=_integer(parameters, "max_tokens", 1, options.context_length, default=0),
        temperature=_temperature(parameters),
        top_k=_integer(parameters, "top_k", 0, _MAX_SEED, default=0),
        seed=_integer(parameters, "seed", 0, _MAX_SEED, default=0) if has_seed else None,
    )


def _truth(parameters: Mapping[str, oip.InferParameter], name: str) -> bool:
    if name not in parameters:
        return False
    if parameters[name].WhichOneof("parameter_choice") != "bool_param":
        raise InvalidInputError(f"parameter {name} must be true or false (bool_param)")
    return parameters[name].bool_param


def _integer(parameters: Mapping[str, oip.InferParameter], name: str, low: int, high: int, *, default: int) -> int:
    if name not in parameters:
        return default
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in {"int64_param", "uint64_param"} else None
    if value is None or not low <= value <= high:
        raise InvalidInputError(f"parameter {name} must be an integer (int64_param) from {low} to {high}")
    return int(value)


def _temperature(parameters: Mapping[str, oip.InferParameter]) -> float:
    if "temperature" not in parameters:
        return 0.0
    parameter = parameters["temperature"]
    kind = parameter.WhichOneof("parameter_choice")
    value = float(getattr(parameter, kind)) if kind in {"double_param", "int64_param", "uint64_param"} else math.nan
    if value != 0 and not _MIN_TEMPERATURE <= value <= _MAX_TEMPERATURE:
        raise InvalidInputError(
            "parameter temperature must be a number (double_param): 0 for the likeliest token, or from "
            f"{_MIN_TEMPERATURE:g} to {_MAX_TEMPERATURE:g}"
        )
    return value
