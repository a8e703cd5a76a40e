"""OpenAI's list of models: ids and aliases of what serves."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from echoplane.gateway.v1 import openai_pb2
from echoplane.v1 import models_pb2
from echoplaned.core.failure import Reason
from echoplaned.rpc.rest.original_path import ORIGINAL_PATH
from tests.rpc.world import failed

from .rest_world import RestWorld

CODE = grpc.StatusCode


def get(rest: RestWorld, name: str) -> Any:
    """Ask for one model by what stands in the path; the transcoder leaves slashes escaped."""
    request = openai_pb2.GetOpenAiModelRequest(id="whatever was bound")
    return rest.openai.GetOpenAiModel(request, metadata=((ORIGINAL_PATH, f"/v1/models/{name}"),))


async def test_models_have_exactly_openais_fields(rest: RestWorld) -> None:
    """Each name that a body may have is listed, an alias behind its model, with a number for the time."""
    await rest.world.load(aliases=["Org/MiniLM-L6", "gpt-4"])
    await rest.world.load(model="another")
    page = MessageToDict(
        await rest.openai.ListOpenAiModels(openai_pb2.ListOpenAiModelsRequest()), preserving_proto_field_name=True
    )
    assert page["object"] == "list"
    assert [each["id"] for each in page["data"]] == ["another", "minilm", "Org/MiniLM-L6", "gpt-4"]
    assert page["data"][1] == {"id": "minilm", "object": "model", "created": 1000, "owned_by": "echoplane"}


@pytest.mark.parametrize("name", ["minilm", "Org/MiniLM-L6", "Org%2FMiniLM-L6", "Org%2fMiniLM-L6?id=another&limit=1"])
async def test_a_model_is_found_by_each_of_its_names(rest: RestWorld, name: str) -> None:
    """The path alone says which; parameters are the clients' own business."""
    await rest.world.load(aliases=["Org/MiniLM-L6"])
    await rest.world.load(model="another")
    assert (await get(rest, name)).id == ("minilm" if name == "minilm" else "Org/MiniLM-L6")


@pytest.mark.parametrize(
    "name", ["nobody", "Org/minilm", "../minilm", "minilm/..", "Org/../minilm", "MINILM", "x" * 5000]
)
async def test_other_names_are_not_found(rest: RestWorld, name: str) -> None:
    """A name is compared as it is: nothing is resolved or folded."""
    await rest.world.load()
    await failed(get(rest, name), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)


async def test_what_serves_nothing_is_not_listed(rest: RestWorld) -> None:
    """A model that is being deleted has no name any more that would answer."""
    rest.world.script.drain = False
    await rest.world.load()
    await rest.world.stubs.models.DeleteModel(models_pb2.DeleteModelRequest(name="minilm"))
    assert not (await rest.openai.ListOpenAiModels(openai_pb2.ListOpenAiModelsRequest())).data
    await failed(get(rest, "minilm"), Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)
