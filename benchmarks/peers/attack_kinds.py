"""What the attacker sends, by kind, and the benign messages of the same bytes that it is compared with.

Benign is what a caller might send that costs its receiver what the transport costs: a look whether the server lives, padded, where no
other message of such a size is harmless. That is the hardest baseline: all that an attack costs beyond its bytes counts against us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from grpc_health.v1 import health_pb2

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.v1 import models_pb2
from echoplane.worker.v1 import worker_pb2
from echoplaned.xds import ads, lrs
from echoplaned.xds.names import ResourceType

INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
LIVE: Final = "/inference.GRPCInferenceService/ServerLive"
SOTW: Final = f"/{ads.SERVICE}/StreamAggregatedResources"
LRS: Final = f"/{lrs.SERVICE}/StreamLoadStats"
_CONTROL: Final = f"/{worker_pb2.DESCRIPTOR.services_by_name['WorkerService'].full_name}"
_LOAD: Final = f"/{models_pb2.DESCRIPTOR.services_by_name['ModelService'].full_name}/LoadModel"
_HEALTH: Final = "/grpc.health.v1.Health"
_ESCAPE: Final = "\x1b"
_LISTENER: Final = str(ResourceType.LISTENER)
_PAD_FIELD: Final = 15_000  # of no message here
_NAMES: Final = 20_000
_CLUSTERS: Final = 500
_ANSWERS: Final = 50


@dataclass(frozen=True, slots=True)
class Call:
    """A unary call with the bytes of its request."""

    method: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream.

    Attributes:
        method: its path.
        requests: written at once.
        reply: what is written for the first answer; None: nothing.
        hold_s: seconds that it is kept open.
        replies_once: the method takes one request and streams answers.
    """

    method: str
    requests: tuple[bytes, ...]
    reply: Callable[[bytes], Sequence[bytes]] | None = None
    hold_s: float = 0.2
    replies_once: bool = False


Unit = Call | Stream


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of attack.

    Attributes:
        door: whom it goes to.
        rate: units a second, attack and benign alike.
        attack: makes the n-th unit.
        benign: makes what is sent in its place, of the same bytes.
        burst: so many units of an attack are sent at once, then a pause; benign ones are spread evenly.
    """

    door: Literal["worker", "daemon"]
    rate: float
    attack: Callable[[int], Unit]
    benign: Callable[[int], Unit]
    burst: int = field(default=1)


def pad(message: bytes, size: int) -> bytes:
    """Return a message of so many bytes or a few more, by a field that nobody knows."""
    missing = size - len(message)
    return message + _varint(_PAD_FIELD << 3 | 2) + _varint(missing) + bytes(missing) if missing > 0 else message


def kinds(model: str, load: bytes) -> dict[str, Kind]:
    """Return the kinds by name, on a model that was loaded by a request."""
    return {
        "huge input_ids": _to_worker(4, _cycle(INFER, [_wide_ids(model)])),
        "tokenizer bombs": _to_worker(20, _cycle(INFER, [_text(model, text) for text in _bombs()])),
        "hostile row values": _to_worker(100, _cycle(INFER, _rows(model))),
        "lying load reports": _lies(model),
        "ADS name floods": _name_flood(model),
        "NACK floods": _nacks(model),
        "bad labels and maps": _labels(load),
        "control without the key": _to_worker(100, _control),
        "queue flooding": _flood(model),
        "Watch floods": _watches(),
    }


def _to_worker(rate: float, attack: Callable[[int], Call]) -> Kind:
    def benign(number: int) -> Call:
        return Call(LIVE, pad(b"", len(attack(number).request)))

    return Kind("worker", rate, attack, benign)


def _cycle(method: str, requests: list[bytes]) -> Callable[[int], Call]:
    return lambda number: Call(method, requests[number % len(requests)])


def _text(model: str, *texts: bytes) -> bytes:
    message = oip.ModelInferRequest(model_name=model)
    message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)]).contents.bytes_contents.extend(texts)
    return message.SerializeToString()


def _bombs() -> list[bytes]:
    """Return texts at the limit of characters, each dear to a part of a tokenizer: one word, marks, what normalises to many, rare ones."""
    length = 16_384
    return [
        (text * length)[:length].encode()
        for text in ("a", "a ", "e\u0301", "\ufdfa", "\u4e2d", "!?", "\U0001f469\u200d", "a\u0300\u0301\u0302 ")
    ]


def _wide_ids(model: str) -> bytes:
    count = 2_000_000
    message = oip.ModelInferRequest(model_name=model)
    message.inputs.add(name="input_ids", datatype="INT64", shape=[count, 1]).contents.int64_contents.extend([1] * count)
    return message.SerializeToString()


def _ids(model: str, ids: list[int], mask: list[int] | None = None) -> oip.ModelInferRequest:
    message = oip.ModelInferRequest(model_name=model)
    for name, values in (("input_ids", ids), ("attention_mask", mask)):
        if values is not None:
            tensor = message.inputs.add(name=name, datatype="INT64", shape=[1, len(values)])
            tensor.contents.int64_contents.extend(values)
    return message


def _rows(model: str) -> list[bytes]:
    """Return rows that would harm those that they meet in a batch, if they came so far."""
    warm = _ids(model, [101, 102])
    warm.parameters["temperature"].double_param = 1e-300
    secret = _ids(model, [101, 102])
    secret.parameters["requantised"].bool_param = True
    return [
        *(message.SerializeToString() for message in (warm, secret)),
        _ids(model, [2**63 - 1] * 200).SerializeToString(),
        _ids(model, [-(2**63)] * 200).SerializeToString(),
        _ids(model, [101] * 200, [1, 0] * 100).SerializeToString(),
        _ids(model, [101] * 200, [2**62] * 200).SerializeToString(),
        _text(model, b"\xff\xfe" * 400),
        _text(model, b""),
    ]


def _lies(model: str) -> Kind:
    def reports(names: Callable[[int], str], numbers: dict[str, int]) -> bytes:
        request = lrs_pb2.LoadStatsRequest()
        for number in range(_CLUSTERS):
            stats = request.cluster_stats.add(cluster_name=names(number))
            stats.upstream_locality_stats.add(**numbers)
        return request.SerializeToString()

    real = f"models/{model}/versions/v1"
    made_up = {
        "total_successful_requests": 2**63,
        "total_error_requests": 2**62,
        "total_requests_in_progress": 2**64 - 1,
    }
    lie = reports(lambda number: f"models/no-{number}/versions/v1" if number % 2 else real, made_up)
    silent = pad(reports(lambda _: real, {}), len(lie))

    def stream(number: int, report: bytes) -> Stream:
        first = lrs_pb2.LoadStatsRequest(node=base_pb2.Node(id=f"reporter-{number}")).SerializeToString()
        return Stream(LRS, (first, *[report] * 5))

    return Kind("daemon", 5, lambda number: stream(number, lie), lambda number: stream(number, silent))


def _subscription(node: str, names: list[str]) -> bytes:
    request = discovery_pb2.DiscoveryRequest(type_url=_LISTENER, resource_names=names, node=base_pb2.Node(id=node))
    return request.SerializeToString()


def _name_flood(model: str) -> Kind:
    made_up = [f"models/made-up-{number}" for number in range(_NAMES)]

    def attack(number: int) -> Stream:
        return Stream(SOTW, (_subscription(f"n{number}", made_up),), hold_s=1.0)

    def benign(number: int) -> Stream:
        size = len(_subscription(f"n{number}", made_up))
        return Stream(SOTW, (pad(_subscription(f"n{number}", [f"models/{model}"]), size),), hold_s=1.0)

    return Kind("daemon", 2, attack, benign)


def _nacks(model: str) -> Kind:
    detail = "no " * 666

    def answer(raw: bytes, *, refuse: bool) -> list[bytes]:
        response = discovery_pb2.DiscoveryResponse.FromString(raw)
        request = discovery_pb2.DiscoveryRequest(type_url=_LISTENER, resource_names=[f"models/{model}"])
        request.response_nonce = response.nonce
        refused = discovery_pb2.DiscoveryRequest()
        refused.CopyFrom(request)
        refused.error_detail.message = detail
        request.version_info = response.version_info
        message = refused.SerializeToString()
        return [message if refuse else pad(request.SerializeToString(), len(message))] * _ANSWERS

    def stream(number: int, *, refuse: bool) -> Stream:
        first = _subscription(f"n{number % 100}", [f"models/{model}"])
        return Stream(SOTW, (first,), lambda raw: answer(raw, refuse=refuse))

    return Kind("daemon", 4, lambda number: stream(number, refuse=True), lambda number: stream(number, refuse=False))


def _labels(load: bytes) -> Kind:
    """The load itself asked for again under its request id, as a client does that had no answer; and with labels that move terminals."""
    request = models_pb2.LoadModelRequest.FromString(load)
    hostile = models_pb2.LoadModelRequest.FromString(load)
    for key, value in request.labels.items():
        hostile.labels[key] = _ESCAPE * len(value)
    bad = hostile.SerializeToString()
    return Kind("daemon", 50, lambda _: Call(_LOAD, bad), lambda _: Call(_LOAD, load))


def _control(number: int) -> Call:
    methods: dict[str, Any] = {
        "Shutdown": worker_pb2.ShutdownRequest(),
        "Drain": worker_pb2.DrainRequest(generation=1),
        "Load": worker_pb2.LoadRequest(source_path="/" + "x" * 4000),
    }
    name = list(methods)[number % len(methods)]
    return Call(f"{_CONTROL}/{name}", methods[name].SerializeToString())


def _flood(model: str) -> Kind:
    request = _text(model, b"one of very many requests at the same time")
    return Kind("worker", 125, lambda _: Call(INFER, request), lambda _: Call(INFER, request), burst=500)


def _watches() -> Kind:
    request = health_pb2.HealthCheckRequest().SerializeToString()

    def watch(_: int) -> Stream:
        return Stream(f"{_HEALTH}/Watch", (request,), hold_s=2.0, replies_once=True)

    return Kind("daemon", 100, watch, lambda _: Call(f"{_HEALTH}/Check", request))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
