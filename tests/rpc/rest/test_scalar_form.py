"""A field's value comes in a form of protobuf's JSON mapping, and in no form that Python alone reads."""

from __future__ import annotations

from typing import Any

import pytest

from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned.rpc.rest.scalar_form import find_form_fault

FIELDS: Any = models_pb2.UpdateModelRequest.DESCRIPTOR.fields_by_name
ALPHA: Any = rollouts_pb2.EchoPolicy.DESCRIPTOR.fields_by_name["alpha"]
WHOLE, REAL = "must be a whole number", "must be a number"
TEXT, NAME, TRUTH = "must be text", "must be one of its names", "must be true or false"


@pytest.mark.parametrize("value", [3, -3, 3.0, "3", "-3", "1e1", "3.0"])
def test_whole_numbers(value: object) -> None:
    """As numbers and, since doubles do not hold 64 bits, as text."""
    assert find_form_fault(value, FIELDS["replicas"]) == ""


@pytest.mark.parametrize("value", ["1_0", "٣", "²", " 3", "3 ", "+3", "", "0x3", "3\n", True, [3], {}, None])
def test_what_is_no_whole_number(value: object) -> None:
    """Underscores, other scripts' digits, signs, spaces and truth values are no numbers of JSON."""
    assert find_form_fault(value, FIELDS["replicas"]) == WHOLE


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model_id", "m", ""),
        ("model_id", 3, TEXT),
        ("model_id", None, TEXT),
        ("dtype", "DTYPE_INT8", ""),
        ("dtype", 2, ""),
        ("dtype", True, NAME),
        ("dtype", ["DTYPE_INT8"], NAME),
        ("validate_only", False, ""),
        ("validate_only", "true", TRUTH),
        ("validate_only", 1, TRUTH),
    ],
)
def test_other_fields(name: str, value: object, said: str) -> None:
    """Texts, names of enumerations and truth values each have one form; an enumeration its number as well."""
    assert find_form_fault(value, FIELDS[name]) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, ""), ("0.5", ""), ("NaN", ""), ("nan", REAL), ("1_0.5", REAL), (True, REAL)]
)
def test_real_numbers(value: object, said: str) -> None:
    """The mapping has three words for what no digits write; whether a field takes them is its own rule's matter."""
    assert find_form_fault(value, ALPHA) == said
