"""Serving shapes: what is asked for, and what a default fills in."""

from __future__ import annotations

from dataclasses import fields

from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ALL_DEFAULTS, ServingShape, ShapeRequest, request_of

DEFAULT = ServingShape(Dtype.BF16, 4096, 8, "torch", 2, (("torch_threads", "4"),), "Q4_K")


def test_nothing_asked_for_is_the_default() -> None:
    """Every field comes from the default."""
    assert ALL_DEFAULTS.complete(DEFAULT) == DEFAULT


def test_a_whole_request_is_what_it_asks_for() -> None:
    """Whatever the default, and field by field under the same names."""
    other = ServingShape(Dtype.FP32, 1, 1, "vllm", 1, (), "")
    assert request_of(DEFAULT).complete(other) == DEFAULT
    assert {field.name for field in fields(ShapeRequest)} == {field.name for field in fields(ServingShape)}


def test_a_dtype_alone_is_how_the_weights_are_packed() -> None:
    """A default's packing is not kept for another dtype."""
    assert ShapeRequest(dtype=Dtype.FP16).complete(DEFAULT).weights_format == ""
    assert ShapeRequest(weights_format="NF4").complete(DEFAULT).dtype is Dtype.BF16


def test_zero_is_asked_for() -> None:
    """A number of 0 reaches whoever refuses it by name."""
    shape = ShapeRequest(context_length=0, max_concurrency=0, replicas=0).complete(DEFAULT)
    assert (shape.context_length, shape.max_concurrency, shape.replicas) == (0, 0, 0)
