"""Aliases of models over the API: set, shown, refused where they are taken."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2

from echoplane.v1 import models_pb2
from echoplaned.core.failure import Reason

from .world import World, failed

CODE = grpc.StatusCode
MINE = ["Org/MiniLM-L6", "mini lm"]


async def configure(world: World, aliases: list[str], model: str = "minilm") -> models_pb2.Model:
    """Set a model's aliases."""
    request = models_pb2.ConfigureModelRequest(name=model, aliases=aliases)
    request.update_mask.paths.append("aliases")
    answer = await world.stubs.models.ConfigureModel(request)
    assert isinstance(answer, models_pb2.Model)
    return answer


async def test_a_load_sets_them_and_the_next_one_keeps_them(world: World) -> None:
    """As labels: none given leaves them, any given replaces them; the etag changes with them."""
    await world.load(aliases=MINE)
    shown = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert list(shown.aliases) == MINE
    await world.load("int8")
    assert list((await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))).aliases) == MINE
    changed = await configure(world, ["other"])
    assert (list(changed.aliases), changed.etag != shown.etag) == (["other"], True)
    assert list((await configure(world, [])).aliases) == []


async def test_a_name_is_taken_once(world: World) -> None:
    """By an alias or an id, of another model or the model's own; who has it is said."""
    await world.load(aliases=MINE)
    await world.load(model="second")
    for call in (
        world.load(model="third", aliases=["fine", MINE[0]]),
        configure(world, [MINE[0]], "second"),
        configure(world, ["minilm"], "second"),
        configure(world, ["minilm"]),
    ):
        found = await failed(call, Reason.ALIAS_EXISTS, CODE.ALREADY_EXISTS)
        assert found.detail(error_details_pb2.ResourceInfo).resource_name == "models/minilm"
    await configure(world, ["third"])
    await failed(world.load(model="third"), Reason.ALIAS_EXISTS, CODE.ALREADY_EXISTS)


@pytest.mark.parametrize(
    "aliases",
    [[""], [" a"], ["a "], ["ä"], ["a\x7f"], ["x" * 129], ["a", "a"], [f"n{i}" for i in range(9)]],
    ids=["empty", "space before", "space behind", "not ASCII", "control", "long", "twice", "nine"],
)
async def test_aliases_have_rules(world: World, aliases: list[str]) -> None:
    """At most 8, each of 1 to 128 printable ASCII characters."""
    found = await failed(world.load(aliases=aliases), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert {field.partition("[")[0] for field in found.fields} == {"aliases"}
    await world.load()
    await failed(configure(world, aliases), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)


async def test_the_longest_alias_is_taken(world: World) -> None:
    """Eight of them, with every printable character."""
    long = "".join(map(chr, range(0x21, 0x7F))) + "x" * 34
    aliases = [long, *(f"a b {n}" for n in range(7))]
    await world.load(aliases=aliases)
    assert list((await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))).aliases) == aliases
