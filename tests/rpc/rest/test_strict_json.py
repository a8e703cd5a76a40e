"""A body is read whole or refused with every place that is wrong."""

from __future__ import annotations

import json
import time

import pytest

from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned.core.errors import FieldInvalidError
from echoplaned.rpc.rest.json_shape import MAX_DEPTH, MAX_VALUES
from echoplaned.rpc.rest.strict_json import read_json
from echoplaned.rpc.validate import MAX_REQUEST_BYTES


def refused(body: bytes | object) -> dict[str, str]:
    """Read an update that must be refused; return what is said of which field."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(FieldInvalidError) as caught:
        read_json(raw, models_pb2.UpdateModelRequest())
    return {each.field: each.description for each in caught.value.failure.violations}


def test_both_names_of_a_field_are_read() -> None:
    """Names as in the protos and as protobuf's JSON has them, numbers as text, enumerations by their full names."""
    request = models_pb2.UpdateModelRequest()
    read_json(
        b'{"model_id": "m", "sourceUri": "file:x", "contextLength": "512", "dtype": "DTYPE_INT8", "labels": {"a": "b"},'
        b' "policy": {"stages_percent": [50, 100]}, "etag": null}',
        request,
    )
    assert request == models_pb2.UpdateModelRequest(
        model_id="m",
        source_uri="file:x",
        context_length=512,
        dtype="DTYPE_INT8",
        labels={"a": "b"},
        policy=rollouts_pb2.RolloutPolicy(stages_percent=(50, 100)),
    )


def test_unknown_fields_are_all_named() -> None:
    """Each with its place, and the field that was probably meant."""
    found = refused({"validate_onyl": True, "policy": {"stages": 1, "echo": {"alfa": 1}}, "x\ny": 1})
    assert found.keys() == {"validate_onyl", "policy.stages", "policy.echo.alfa", '"x\\ny"'}
    assert found["validate_onyl"].endswith("has no such field; did you mean validate_only?")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model_id": 3}, "model_id"),
        ({"replicas": 1.5}, "replicas"),
        ({"replicas": 2**31}, "replicas"),
        ({"validate_only": "true"}, "validate_only"),
        ({"dtype": "INT8"}, "dtype"),
        ({"policy": []}, "policy"),
        ({"policy": {"stages_percent": ["a"]}}, "policy.stages_percent[0]"),
        ({"policy": {"stages_percent": "50"}}, "policy.stages_percent"),
        ({"labels": {"a": 1}}, 'labels["a"]'),
        ({"replicas": "1_0"}, "replicas"),
        ({"dtype": True}, "dtype"),
        ({"policy": {"echo": {"alpha": "x"}}}, "policy.echo.alpha"),
        ({"labels": []}, "labels"),
        ({"model_id": "a", "modelId": "b"}, "modelId"),
        ({"labels": {str(number): "" for number in range(65)}}, "labels"),
        ({"policy": {"stages_percent": [1] * 101}}, "policy.stages_percent"),
    ],
)
def test_wrong_values_name_their_field(body: object, field: str) -> None:
    """What protobuf would take for something else, or says without a place, is refused at its place."""
    assert list(refused(body)) == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"etag": NaN}',
        b'{"dtype": 1e999}',
        b'{"etag": "a", "etag": "b"}',
        b'{"replicas": ' + b"1" * 10_000 + b"}",
        b"[" * 100_000,
        b'{"policy": ' * (MAX_DEPTH + 1) + b"{}" + b"}" * (MAX_DEPTH + 1),
        b'"' + b'\\"' * 200_000,
        b'{"etag":[' + b"[]," * 340_000 + b"[]]}",
        b'{"etag":[' + b"{}," * 340_000 + b"{}]}",
        b'{"etag":[' + b'"",' * 340_000 + b'""]}',
        b"]" * 1_000_000,
        b'"' * 1_000_000,
        b'{"etag":[' + b"1," * MAX_VALUES + b"1]}",
        b'{"source_uri": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"dtype": "\\udfff"}',
        b'{"etag": "\\ude00\\ud83d"}',
        b'{"etag": "' + b"\\ud83d\\ude00" * 80_000 + b'\\ud83d"}',
        b'{"etag": "\\\\\\ud800"}',
        b" " * (MAX_REQUEST_BYTES + 1),
    ],
    ids=lambda body: f"{body[:12]!r}-{len(body)}",
)
def test_what_is_no_json_object_is_refused_fast(body: bytes) -> None:
    """Not UTF-8, no object, a name twice, no number, too deep or too large: the body is named, within a moment."""
    began = time.process_time()
    assert list(refused(body)) == ["body"]
    assert time.process_time() - began < 0.2


def test_what_the_path_says_is_not_said_again() -> None:
    """A field that is taken is refused in the body."""
    with pytest.raises(FieldInvalidError) as caught:
        read_json(b'{"name": "other"}', models_pb2.CheckModelHealthRequest(), frozenset({"name"}))
    assert [each.field for each in caught.value.failure.violations] == ["name"]


@pytest.mark.parametrize(
    ("text", "etag"),
    [
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\uD83D\uDE00\u00e9", "\U0001f600\xe9"),
        (r"\\ud800", r"\ud800"),
        (r"\\\u0041", "\\A"),
        (r"\ud7ff\ue000", "\ud7ff\ue000"),
        ("[" * 100 + r"\"{" * 100, "[" * 100 + '"{' * 100),
        ("," * 10_000, "," * 10_000),
    ],
)
def test_what_a_text_holds_is_no_shape(text: str, etag: str) -> None:
    """Pairs of halves are characters; brackets, commas and backslashes within a text are text."""
    request = models_pb2.UpdateModelRequest()
    read_json(f'{{"etag": "{text}"}}'.encode(), request)
    assert request.etag == etag
