"""What is fuzzed: every parser that bytes from outside reach first, each with the errors that it may end in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import json_format

from echoplane.channels import bootstrap, proxy_exceptions
from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.errors import PageTokenInvalidError
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.signature import signature_for
from echoplaned.ports.traffic import Reporter
from echoplaned.rpc.paging import PageQuery, encode_token, paginate
from echoplaned.worker.options import LoadOptions
from echoplaned.worker_contract.inference.errors import CallError
from echoplaned.worker_contract.inference.requests import check_allowed, check_request
from echoplaned.worker_contract.inference.screening import BatchLimits, Unread, reader
from echoplaned.worker_contract.record import WorkerPhase, WorkerRecord
from echoplaned.xds.lrs import parse_report, read_reports
from echoplaned.xds.names import GATEWAY, ResourceType
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.requests import BadRequestError, parse, read_delta, read_node, read_node_id, read_sotw
from echoplaned.xds.traffic import ClientRequestTotals
from tests.fuzz.runner import Target
from tests.xds import xds_harness as h

_LIMITS = BatchLimits(sequences=4, tokens=64)
_PEER = "ipv4:127.0.0.1:9"
_VERSION = "models/m/versions/v1"


def inference_seeds() -> tuple[bytes, ...]:
    """Return valid requests: of texts and of token ids, typed and raw, with parameters."""
    text = oip.ModelInferRequest(model_name="m", id="1")
    text.inputs.add(name="text", datatype="BYTES", shape=[2]).contents.bytes_contents.extend((b"a b", b"c"))
    text.parameters["truncate"].bool_param = True
    ids = oip.ModelInferRequest(model_name="m", model_version="v1")
    for name, values in (("input_ids", (1, 2, 3, 0)), ("attention_mask", (1, 1, 1, 0))):
        ids.inputs.add(name=name, datatype="INT64", shape=[1, 4]).contents.int64_contents.extend(values)
    raw = oip.ModelInferRequest(model_name="m", raw_input_contents=[b"\x01\x00\x00\x00a"])
    raw.inputs.add(name="text", datatype="BYTES", shape=[1])
    raw_ids = oip.ModelInferRequest(model_name="m", raw_input_contents=[(5).to_bytes(8, "little") * 3])
    raw_ids.inputs.add(name="input_ids", datatype="INT64", shape=[1, 3])
    raw_ids.outputs.add(name="embedding")
    return tuple(one.SerializeToString() for one in (text, ids, raw, raw_ids))


def generation_seeds() -> tuple[bytes, ...]:
    """Return valid requests of a generation: sampled, and scored."""
    drawn = oip.ModelInferRequest(model_name="m")
    drawn.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    for name, value in (("max_tokens", 5), ("top_k", 3), ("seed", 7)):
        drawn.parameters[name].int64_param = value
    drawn.parameters["temperature"].double_param = 0.5
    scored = oip.ModelInferRequest(model_name="m")
    scored.inputs.add(name="input_ids", datatype="INT64", shape=[1, 2]).contents.int64_contents.extend((1, 2))
    scored.parameters["score"].bool_param = True
    return tuple(one.SerializeToString() for one in (drawn, scored))


def report_seeds() -> tuple[bytes, ...]:
    """Return valid load reports: the first of a stream, and one of two localities."""
    first = lrs_pb2.LoadStatsRequest(node=base_pb2.Node(id="client-1"))
    counted = lrs_pb2.LoadStatsRequest(node=base_pb2.Node(id="client-1"))
    stats = counted.cluster_stats.add(cluster_name=_VERSION)
    stats.load_report_interval.FromMilliseconds(1000)
    for issued in (3, 4):
        stats.upstream_locality_stats.add(
            total_successful_requests=2, total_error_requests=issued - 2, total_issued_requests=issued
        )
    return first.SerializeToString(), counted.SerializeToString()


def _node() -> base_pb2.Node:
    node = base_pb2.Node(id="client-1", user_agent_name="gRPC C-core Linux")
    asked = node.metadata.fields["echoplane.gateway"].struct_value.fields
    asked["address"].string_value, asked["port"].number_value = "127.0.0.1", 8080
    return node


def sotw_seeds() -> tuple[bytes, ...]:
    """Return valid requests of state of the world: by name, by wildcard, and a refusal."""
    made = [
        discovery_pb2.DiscoveryRequest(node=_node(), type_url=kind, resource_names=names)
        for kind, names in (
            (ResourceType.LISTENER, ["models/m"]),
            (ResourceType.ROUTE, ["models/m", GATEWAY]),
            (ResourceType.CLUSTER, []),
            (ResourceType.ENDPOINT, [_VERSION]),
        )
    ]
    refused = discovery_pb2.DiscoveryRequest(node=_node(), type_url=ResourceType.CLUSTER, response_nonce="1")
    refused.error_detail.message = "no"
    return tuple(one.SerializeToString() for one in (*made, refused))


def delta_seeds() -> tuple[bytes, ...]:
    """Return valid delta requests: a first one that brings versions along, changes, and a refusal."""
    first = discovery_pb2.DeltaDiscoveryRequest(
        node=_node(), type_url=ResourceType.CLUSTER, resource_names_subscribe=["*", _VERSION]
    )
    first.initial_resource_versions[_VERSION] = "1"
    changed = discovery_pb2.DeltaDiscoveryRequest(
        node=_node(),
        type_url=ResourceType.ROUTE,
        resource_names_subscribe=[GATEWAY, "models/m"],
        resource_names_unsubscribe=["models/other"],
    )
    refused = discovery_pb2.DeltaDiscoveryRequest(node=_node(), type_url=ResourceType.LISTENER, response_nonce="1")
    refused.error_detail.message = "no"
    return tuple(one.SerializeToString() for one in (first, changed, refused))


def _inference(*tasks: Task) -> Callable[[bytes], object]:
    read = reader(lambda: _LIMITS)
    versions = [
        (
            LoadOptions(
                InstanceKey.parse("m/v1#0"), 1, Path("/nowhere"), task, Dtype.FP32, context_length=64, max_concurrency=4
            ),
            signature_for(task, embedding_width=4, label_count=2),
        )
        for task in tasks
    ]

    def run(data: bytes) -> None:
        request = read(data)
        if isinstance(request, Unread):
            return
        check_allowed(request.parameters)
        for options, signature in versions:
            order = check_request(request, options, signature).read()
            if not 1 <= order.size <= _LIMITS.sequences:
                raise AssertionError(f"a batch of {order.size} was let in")

    return run


def _load_report() -> Callable[[bytes], object]:
    exists = {VersionKey("m", "v1")}.__contains__
    totals = ClientRequestTotals(exists)

    def run(data: bytes) -> None:
        message = parse_report(data)
        reporter = Reporter(read_node_id(message.node, _PEER), 1, _PEER)
        for report in read_reports(message.cluster_stats, reporter, 1.0, exists):
            totals.add(report)
        totals.on_ended(reporter)
        if len(totals.totals()) > 1:
            raise AssertionError(f"totals of versions that do not exist are kept: {list(totals.totals())[:3]}")

    return run


def _discovery(*, delta: bool) -> Callable[[bytes], object]:
    """Return what takes a first request in and, as a client with an answer would, the same one with the answer's nonce."""
    publisher = Publisher(_Deaf(), h.FakeClock())
    publisher.open({"m": h.routes("m", 1, v1=(900_000, ["127.0.0.1:1"]), v2=(100_000, ["127.0.0.1:2"]))})
    response: Any = discovery_pb2.DeltaDiscoveryResponse if delta else discovery_pb2.DiscoveryResponse
    request: Any = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
    read: Any = read_delta if delta else read_sotw

    def run(data: bytes) -> None:
        message = parse(data, request.FromString)
        connection = publisher.attach(read_node(message.node, _PEER), lambda: None, delta=delta)
        try:
            for _ in range(3):
                asked = read(message)
                if asked is None:
                    return
                connection.max_name_count(asked)
                connection.receive(asked)
                for answer in connection.responses():
                    message.response_nonce = response.FromString(answer).nonce
        finally:
            connection.close()

    return run


class _Deaf(h.Recorder):
    """An observer that keeps nothing, so that what grows is the publisher."""

    def _note(self, line: str) -> None:
        del line

    def routes_refused(self, refusal: object) -> None:
        """Keep nothing."""

    def nack_recorded(self, nack: object) -> None:
        """Keep nothing."""


def _record(data: bytes) -> None:
    record = WorkerRecord.from_json(data.decode("utf-8"))
    again = WorkerRecord.from_json(record.to_json())
    if again != record:
        raise AssertionError(f"{record} was written as {again}")


def record_seeds() -> tuple[bytes, ...]:
    """Return valid records: of a worker that serves, and of an earlier release."""
    record = WorkerRecord("w-1", 7, 9, "boot", WorkerPhase.READY, "127.0.0.1:1", "m/v1#0", 3, kind="torch", mark="x")
    old = {"worker_id": "w-1", "pid": 7, "start_ticks": 9, "boot_id": "b", "phase": "SPARE", "address": "", "more": [1]}
    return record.to_json().encode(), json.dumps(old).encode()


_QUERY = PageQuery("ListOperations", "done=true")
_ITEMS = tuple((-float(number), f"op-{number}") for number in range(50))


def token_seeds() -> tuple[bytes, ...]:
    """Return what valid tokens are made of: JSON."""
    tokens = [encode_token(_QUERY, item) for item in _ITEMS[:3]]
    return tuple(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) for token in tokens)


def _page_token(data: bytes) -> None:
    """Take an input as a token, and as what a token is made of: most of what is no Base64 is refused for that alone."""
    with suppress(PageTokenInvalidError):
        # Strings of the API are UTF-8: others do not get as far as this.
        _next_page(data.decode("utf-8", "ignore"))
    _next_page(base64.urlsafe_b64encode(data).decode().rstrip("="))


def _next_page(token: str) -> None:
    paginate(_ITEMS, lambda item: item, _QUERY, len(token) % 60, token)


def _bootstrap(data: bytes) -> None:
    """Make a bootstrap of an address and a node's name, and read what a client sends of one that somebody wrote by hand."""
    text = data.decode("utf-8", "replace")
    address, _, node = text.partition("|")
    made = json.loads(json.dumps(bootstrap(address, node or None)))
    if made["xds_servers"][0]["server_uri"] != address or (node and made["node"]["id"] != node):
        raise AssertionError(f"{made} was made of {address!r} and {node!r}")
    proxy_exceptions({"http_proxy": text, "no_proxy": node}, address)
    message = base_pb2.Node()
    json_format.Parse(text, message, ignore_unknown_fields=True)
    read_node(message, _PEER)


_NODE = (
    b'{"id":"client-1","userAgentName":"envoy","metadata":{"echoplane.gateway":{"address":"127.0.0.1","port":8080}}}',
    b'{"id":"client-2","locality":{"zone":"a"}}',
)

_REQUEST = oip.ModelInferRequest
_SOTW, _DELTA = discovery_pb2.DiscoveryRequest, discovery_pb2.DeltaDiscoveryRequest

TARGETS = (
    Target("encoder", inference_seeds(), _inference(Task.EMBEDDING), (CallError,), _REQUEST),
    Target("generation", generation_seeds(), _inference(Task.GENERATION), (CallError,), _REQUEST),
    Target("load report", report_seeds(), _load_report(), (BadRequestError,), lrs_pb2.LoadStatsRequest),
    Target("ADS", sotw_seeds(), _discovery(delta=False), (BadRequestError,), _SOTW),
    Target("delta ADS", delta_seeds(), _discovery(delta=True), (BadRequestError,), _DELTA),
    # A record that cannot be read is none: `read_record` catches what `from_json` says it raises.
    Target("worker record", record_seeds(), _record, (ValueError,)),
    Target("page token", token_seeds(), _page_token, (PageTokenInvalidError,)),
    Target("bootstrap", _NODE, _bootstrap, (BadRequestError, json_format.ParseError)),
)
