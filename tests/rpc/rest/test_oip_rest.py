"""OIP's repository in its REST form: what a body may hold, and what is said of one that holds more."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import grpc
import pytest
from google.api import httpbody_pb2
from google.protobuf.message_factory import GetMessageClass

from echoplaned.core.failure import Reason
from echoplaned.rpc.rest.descriptors import OIP_SERVICE
from echoplaned.rpc.rest.oip_rest import MAX_PARAMETERS_BYTES
from echoplaned.rpc.rest.original_path import ORIGINAL_PATH
from echoplaned.rpc.validate import MAX_SHORT_REQUEST_BYTES
from tests.rpc.rest.rest_world import RestWorld
from tests.rpc.world import Failed, failed

LOAD, UNLOAD = "LoadRepositoryModel", "UnloadRepositoryModel"
HALF = b'"\\ud800"'


def call(rest: RestWorld, method: str, body: bytes) -> Any:
    """Begin to call a method as the transcoder does."""
    kind = GetMessageClass(OIP_SERVICE.methods_by_name[method].input_type)
    variables = {} if method == "IndexRepository" else {"name": "zz"}
    asked = cast(Any, rest.channel.unary_unary)(
        f"/{OIP_SERVICE.full_name}/{method}",
        request_serializer=kind.SerializeToString,
        response_deserializer=httpbody_pb2.HttpBody.FromString,
    )
    sent = kind(content=httpbody_pb2.HttpBody(data=body), **variables)
    return asked(sent, metadata=((ORIGINAL_PATH, "/v2/repository"),))


async def refused(rest: RestWorld, method: str, body: bytes) -> Failed:
    """Return how a body was refused, by its fields."""
    return await failed(call(rest, method, body), Reason.FIELD_INVALID, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_body_of_one_boolean_is_short(rest: RestWorld) -> None:
    """Whoever lists the repository needs no key: a body that holds more than it may is refused unread, in milliseconds."""
    assert json.loads((await call(rest, "IndexRepository", b'{"ready": true}')).data) == []
    bodies = (
        json.dumps(dict.fromkeys(map(str, range(95_000)), 1), separators=(",", ":")).encode(),
        b'{"ready":[' + b"[]," * 340_000 + b"[]]}",
        b'{"ready":[' + b'"",' * 340_000 + b'""]}',
        b" " * (MAX_SHORT_REQUEST_BYTES + 1),
    )
    for body in bodies:
        began = time.process_time()
        assert (await refused(rest, "IndexRepository", body)).fields == {"body"}
        assert time.process_time() - began < 0.1


async def test_parameters_are_bounded(rest: RestWorld) -> None:
    """A load's and an unload's parameters have their bytes, too."""
    for method in (LOAD, UNLOAD):
        body = json.dumps({"parameters": {"source_uri": "x" * MAX_PARAMETERS_BYTES}}).encode()
        assert (await refused(rest, method, body)).fields == {"body"}


async def test_unknown_fields_are_named(rest: RestWorld) -> None:
    """The first hundred, and nothing of them passes for another line."""
    for method in ("IndexRepository", LOAD, UNLOAD):
        found = await refused(rest, method, b'{"a\\nb": 1, "model": 2}')
        assert found.fields == {'"a\\nb"', "model"}
    many = json.dumps(dict.fromkeys([f"k{n}" for n in range(400)], 1), separators=(",", ":")).encode()
    assert len(many) < MAX_SHORT_REQUEST_BYTES
    text = str((await refused(rest, "IndexRepository", many)).status)
    assert "and 84 more" in text


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("IndexRepository", b"{" + HALF + b":1}"),
        (LOAD, b'{"parameters":{' + HALF + b":1}}"),
        (UNLOAD, b'{"parameters":{' + HALF + b":1}}"),
        (LOAD, b'{"parameters":{"source_uri":' + HALF + b"}}"),
        (UNLOAD, b'{"parameters":{"version_id":' + HALF + b"}}"),
    ],
)
async def test_half_a_character_is_no_text(rest: RestWorld, method: str, body: bytes) -> None:
    """As a field's or a parameter's name or value: the body is refused, as any other that is wrong."""
    assert (await refused(rest, method, body)).fields == {"body"}


@pytest.mark.parametrize("method", [LOAD, UNLOAD])
async def test_parameters_are_text_that_can_be_shown(rest: RestWorld, method: str) -> None:
    """As over gRPC, controls are refused in names and values."""
    for parameters in ({"a\nb": 1}, {"version_id": "\x1b[2J"}):
        body = json.dumps({"parameters": parameters}).encode()
        (field,) = (await refused(rest, method, body)).fields
        assert field.startswith("parameters[")
