"""The codec: total, strict, round trip."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import pytest

from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import Placement
from echoplaned.core.state import Instance
from echoplaned.store.codec import Codec, CodecError, Json, codec


class Colour(StrEnum):
    """An enumeration to try."""

    RED = "RED"
    BLUE = "BLUE"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A nested value."""

    name: str
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Tree:
    """One field of every kind."""

    leaf: Leaf
    count: int
    share: float
    on: bool
    maybe: float | None = None
    leaves: tuple[Leaf, ...] = ()
    pairs: tuple[tuple[str, int], ...] = ()
    named: Mapping[str, Leaf] = field(default_factory=lambda: MappingProxyType({}))


TREE = Tree(
    Leaf("a\x00\n\u202e"),
    2**70,
    -0.5,
    on=True,
    maybe=1,
    leaves=(Leaf("b", Colour.BLUE),),
    pairs=(("x", -1),),
    named=MappingProxyType({"k": Leaf("c")}),
)
REQUIRED: dict[str, Json] = {"leaf": {"name": "a"}, "count": 1, "share": 1, "on": False}


def through_json(value: Tree) -> Tree:
    """Write and read a tree by way of text."""
    document: Json = json.loads(json.dumps(codec(Tree).encode(value), allow_nan=False))
    back = codec(Tree).decode(document)
    assert isinstance(back, Tree)
    return back


def test_every_kind_comes_back_equal() -> None:
    """Nested dataclasses, tuples, maps, enumerations, None and numbers survive the way through JSON text."""
    back = through_json(TREE)
    assert back == TREE
    assert isinstance(back.leaves[0].colour, Colour)
    assert isinstance(back.maybe, float)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_without_a_json_form_come_back(number: float) -> None:
    """Infinity and NaN survive, although strict JSON has no words for them."""
    back = through_json(Tree(Leaf("a"), 1, number, on=False)).share
    assert back == number or (math.isnan(back) and math.isnan(number))


def test_fields_with_defaults_may_be_missing() -> None:
    """A row from before a field existed loads with the field's default."""
    assert codec(Tree).decode(REQUIRED) == Tree(Leaf("a"), 1, 1.0, on=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": True}, "count: expected int, found bool"),
        ({"count": 1.0}, "count: expected int, found float"),
        ({"share": "1"}, "share: expected float, found str"),
        ({"share": False}, "share: expected float, found bool"),
        ({"share": 10**400}, "share: number too large for a float"),
        ({"on": 0}, "on: expected bool, found int"),
        ({"leaf": []}, "leaf: expected object for Leaf, found list"),
        ({"leaf": {"name": 1}}, "leaf.name: expected str, found int"),
        (
            {"leaves": [{"name": "a"}, {"name": "b", "colour": "GREEN"}]},
            "leaves.1.colour: 'GREEN' is not one of Colour",
        ),
        ({"leaves": {}}, "leaves: expected list, found dict"),
        ({"pairs": [["x"]]}, "pairs.0: expected list of 2, found list"),
        ({"named": []}, "named: expected object, found list"),
        ({"named": {"k": None}}, "named.k: expected object for Leaf, found NoneType"),
        ({"size": 1}, "Tree has no field 'size': was it written by a newer daemon?"),
    ],
)
def test_decoding_is_strict(change: dict[str, Json], message: str) -> None:
    """Whatever is not what encode writes is refused with the path to it."""
    with pytest.raises(CodecError) as caught:
        codec(Tree).decode({**REQUIRED, **change})
    assert str(caught.value) == message


def test_a_missing_required_field_is_named() -> None:
    """A field without a default must be there."""
    with pytest.raises(CodecError, match="field 'name' of Leaf is missing"):
        codec(Tree).decode({**REQUIRED, "leaf": {}})


@pytest.mark.parametrize(
    "tree",
    [
        Tree(Leaf("a"), "1", 1.0, on=True),  # type: ignore[arg-type]  # hostile on purpose
        Tree(Leaf("a"), 1, 1.0, on=True, leaves=[]),  # type: ignore[arg-type]  # as above
        Tree(Leaf("a", "RED"), 1, 1.0, on=True),  # type: ignore[arg-type]  # as above
        Tree("a", 1, 1.0, on=True),  # type: ignore[arg-type]  # as above
        Tree(Leaf("a"), 1, 1.0, on=True, named={1: Leaf("a")}),  # type: ignore[dict-item]  # as above
        Tree(Leaf("a"), 1, 10**400, on=True),
    ],
)
def test_encoding_refuses_values_of_another_type(tree: Tree) -> None:
    """What could not be read back is not written."""
    with pytest.raises(CodecError):
        codec(Tree).encode(tree)


def test_fields_kept_elsewhere_are_given_back() -> None:
    """A codec can leave fields out; they come in beside the document."""
    narrow = Codec(Leaf, frozenset({"name"}))
    assert narrow.encode(Leaf("a", Colour.BLUE)) == {"colour": "BLUE"}
    assert narrow.decode({"colour": "BLUE"}, {"name": "a"}) == Leaf("a", Colour.BLUE)
    with pytest.raises(CodecError, match="'name' of Leaf is missing"):
        narrow.decode({"colour": "BLUE"})


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A class that has no codec."""

    value: int | str


@dataclass(frozen=True, slots=True)
class Loose:
    """Another one."""

    value: dict[str, int]


@pytest.mark.parametrize("cls", [Ambiguous, Loose, int])
def test_unknown_kinds_are_refused_when_the_codec_is_built(cls: type) -> None:
    """A field that could not be written exactly is found by the first import, not by the first row."""
    with pytest.raises(TypeError):
        Codec(cls)


def test_a_codec_without_a_field_that_is_not_there_is_refused() -> None:
    """A renamed field cannot fall into the document unseen."""
    with pytest.raises(TypeError, match="colours"):
        Codec(Leaf, frozenset({"colours"}))


def test_what_a_class_refuses_is_told_with_its_place() -> None:
    """A constructor that checks its values has the last word, and the path leads to it."""
    json: Json = {"node": "local", "shares": []}
    with pytest.raises(CodecError, match="at least one device"):
        codec(Placement).decode(json)
    with pytest.raises(CodecError, match=r"endpoints\.0: not tcp://"):
        Codec(Instance, frozenset({"key"})).decode(
            {"endpoints": [{"protocol": "OIP_GRPC", "address": "nowhere"}]}, {"key": InstanceKey.parse("m/v#0")}
        )
