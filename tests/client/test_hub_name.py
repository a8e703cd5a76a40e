"""`echoplane load NAME`: what a name alone says of a load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
import typer

from echoplane.cli.hub_name import HubName, propose_id, read_hub_name
from echoplane.v1 import models_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2
from tests.client.test_cli import ok

LOADING = metadata_pb2.OperationMetadata(target="models/m-1", phase=metadata_pb2.OPERATION_PHASE_LOADING)


@pytest.mark.parametrize(
    ("text", "model_id"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2-5-7b-instruct"),
        ("minilm", "minilm"),
        ("01-ai/Yi_34B", "yi-34b"),
        ("org/2b--", "b"),
        ("file:models/A", "a"),
        ("/models/A.B/", "a-b"),
        ("o/" + "x" * 80, "x" * 63),
        ("o/" + "x" * 62 + "-y", "x" * 62),
    ],
)
def test_an_id_is_proposed(text: str, model_id: str) -> None:
    """The last part in lower case, other characters as dashes, a letter first."""
    assert propose_id(text) == model_id


@pytest.mark.parametrize("text", ["org/123", "..", "/", "模型"])
def test_a_name_that_makes_no_id_is_refused(text: str) -> None:
    """It says what to write instead."""
    with pytest.raises(typer.BadParameter, match="MODEL and SOURCE"):
        propose_id(text)


def test_where_it_may_lie() -> None:
    """Beneath a root as it is, or as a hub's cache has it; a path is a path, and no alias."""
    assert read_hub_name("Org/M-1") == HubName("m-1", ("file:Org/M-1", "file:models--Org--M-1"), ("Org/M-1",))
    assert read_hub_name("minilm").aliases == ()
    assert read_hub_name("/models/M") == HubName("m", ("file:/models/M",), ())


def test_the_first_place_that_is_there_is_loaded(daemon: Any, cli: Any, running: Any, refuse: Any) -> None:
    """The hub's directory is tried where there is no other; the id is printed, the name kept as alias beside those given."""
    missing = refuse(grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND", "nothing is there")
    daemon.on("LoadModel", missing, running(LOADING))
    result = cli("load", "Org/M-1", "--alias", "m1", "--no-wait")
    ok(result)
    assert "model id: m-1" in result.stderr
    first, second = daemon.seen("LoadModel")
    assert (first.source_uri, second.source_uri) == ("file:Org/M-1", "file:models--Org--M-1")
    assert (second.model_id, list(second.aliases)) == ("m-1", ["Org/M-1", "m1"])


def test_a_load_by_name_may_be_repeated(daemon: Any, cli: Any, running: Any, refuse: Any) -> None:
    """Its request id is of the place that was there: of another one the daemon says that it was used, and the next is tried."""
    reused = refuse(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", "another request had it")
    daemon.on("LoadModel", reused, running(LOADING))
    ok(cli("load", "Org/M-1", "--request-id", "x", "--no-wait"))
    assert [one.request_id for one in daemon.seen("LoadModel")] == ["x", "x"]
    missing = refuse(grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND", "nothing is there")
    for answers in ((reused, reused), (reused, missing), (missing, reused)):
        daemon.on("LoadModel", *answers)
        result = cli("load", "Org/M-1", "--request-id", "x")
        assert result.exit_code == 1
        assert "REQUEST_ID_REUSED: another request had it" in result.stderr


def test_a_name_that_is_nowhere(daemon: Any, cli: Any, refuse: Any) -> None:
    """The error is about the name as it was written."""
    texts = ("file:Org/M-1 is not there", "file:models--Org--M-1 is not there")
    daemon.on("LoadModel", *(refuse(grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND", text) for text in texts))
    result = cli("load", "Org/M-1")
    assert result.exit_code == 1
    assert texts[0] in result.stderr


def test_aliases_are_shown(daemon: Any, cli: Any) -> None:
    """By `get`, and by `ls` where a model has any."""
    plain, named = models_pb2.Model(name="models/a"), models_pb2.Model(name="models/m-1", aliases=["Org/M-1"])
    daemon.on("GetModel", named)
    assert "Org/M-1" in ok(cli("get", "m-1"))
    daemon.on(
        "ListModels", models_pb2.ListModelsResponse(models=[plain]), models_pb2.ListModelsResponse(models=[named])
    )
    assert "aliases" not in ok(cli("ls"))
    assert "Org/M-1" in ok(cli("ls"))


def test_a_source_is_taken_as_it_is(daemon: Any, cli: Any, running: Any, tmp_path: Path) -> None:
    """With MODEL and SOURCE nothing is proposed and nothing kept."""
    daemon.on("LoadModel", running(LOADING))
    result = cli("load", "minilm", str(tmp_path), "--no-wait")
    ok(result)
    assert "model id" not in result.stderr
    assert not daemon.seen("LoadModel")[0].aliases
