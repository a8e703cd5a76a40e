"""A broken or a hostile daemon: what the clients cannot read is an error of theirs, and ends no command with a traceback."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from typer.testing import Result

from echoplane import errors
from echoplane.googleapis import error_details_pb2, operations_pb2, status_pb2
from echoplane.v1 import keys_pb2, models_pb2, planning_pb2, rollouts_pb2

KIND = "type.googleapis.com/"
BROKEN = b"\xff\xff"


def one_error(result: Result) -> str:
    """Return the stderr of a command that ended with 1 and lines for people."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.count("error: ") == 1
    return result.stderr


# --- lists -------------------------------------------------------------------------------------------------------------

LISTS: list[tuple[str, type[Any], tuple[str, ...]]] = [
    ("ListModels", models_pb2.ListModelsResponse, ("list_models",)),
    ("ListModelVersions", models_pb2.ListModelVersionsResponse, ("list_versions", "m")),
    ("ListRollouts", rollouts_pb2.ListRolloutsResponse, ("list_rollouts", "m")),
    ("ListDevices", planning_pb2.ListDevicesResponse, ("list_devices",)),
    ("ListKeys", keys_pb2.ListKeysResponse, ("list_keys",)),
]


@pytest.mark.parametrize("tokens", ["aa", "abab"])
@pytest.mark.parametrize("asked", LISTS, ids=[each[0] for each in LISTS])
def test_a_list_ends_where_a_page_token_comes_again(
    daemon: Any, caller: Any, asked: tuple[str, type[Any], tuple[str, ...]], tokens: str
) -> None:
    """The same page token twice, at once or later, is an error instead of a list without end."""
    method, page, (name, *arguments) = asked
    daemon.on(method, *(page(next_page_token=token) for token in tokens), page())
    with pytest.raises(errors.UnreadableError, match="page token"):
        getattr(caller, name)(*arguments)
    assert len(daemon.seen(method)) == len(set(tokens)) + 1


def test_ls_ends(daemon: Any, cli: Any) -> None:
    """`echoplane ls` of a list that never ends says so."""
    daemon.on("ListModels", models_pb2.ListModelsResponse(models=[{"name": "models/a"}], next_page_token="same"))
    assert "page token" in one_error(cli("ls"))


# --- what is packed into an Any ------------------------------------------------------------------------------------------


def test_progress_that_is_no_message(daemon: Any, caller: Any, cli: Any) -> None:
    """An operation whose progress cannot be read is an error of its own, with what to do."""
    operation = operations_pb2.Operation(name="operations/x")
    operation.metadata.type_url = f"{KIND}echoplane.v1.OperationMetadata"
    operation.metadata.value = BROKEN
    with pytest.raises(errors.UnreadableError, match="the progress of operations/x"):
        caller.wait(operation, 5, lambda _: None)
    daemon.on("DeleteModel", operation)
    daemon.on("GetOperation", operation)
    assert "what to do:" in one_error(cli("rm", "a"))


def test_answer_that_is_no_message(daemon: Any, caller: Any, cli: Any) -> None:
    """So is one whose answer cannot be read."""
    operation = operations_pb2.Operation(name="operations/x", done=True)
    operation.response.type_url = f"{KIND}echoplane.v1.Model"
    operation.response.value = BROKEN
    with pytest.raises(errors.UnreadableError, match="the answer of operations/x"):
        caller.wait(operation, 5)
    daemon.on("LoadModel", operation)
    assert "cannot read" in one_error(cli("load", "a", "file:x"))


def test_error_details_that_are_no_messages(daemon: Any, cli: Any) -> None:
    """An error keeps its code, its message and the details that can be read; the others are told of."""
    status = status_pb2.Status(code=5, message="there is no model x")
    status.details.add(type_url=f"{KIND}google.rpc.ErrorInfo", value=BROKEN)
    status.details.add(type_url=f"{KIND}echoplane.v1.Plan", value=BROKEN)
    status.details.add().Pack(error_details_pb2.ResourceInfo(resource_name="models/x"))
    error = errors.from_status(status)
    assert isinstance(error, errors.NotFoundError)
    assert error.failure.message == "there is no model x (with details that this client cannot read)"
    assert (error.failure.resource, error.plan) == ("models/x", None)
    daemon.on("LoadModel", operations_pb2.Operation(name="operations/x", done=True, error=status))
    assert "NOT_FOUND: there is no model x" in one_error(cli("load", "a", "file:x"))


def test_trailers_that_are_no_status(daemon: Any, caller: Any, refuse: Any) -> None:
    """A call whose trailers cannot be read fails with its code and message."""

    class Nonsense:
        """What a daemon puts into its trailers."""

        code, message = 5, "there is no model x"

        @staticmethod
        def SerializeToString() -> bytes:  # noqa: N802  # as messages have it
            return BROKEN

    refusal = refuse(grpc.StatusCode.NOT_FOUND, "", "x")
    refusal.status = Nonsense
    daemon.on("GetModel", refusal)
    with pytest.raises(errors.NotFoundError, match=r"there is no model x [(]with details"):
        caller.get_model("x")


@pytest.mark.parametrize(("seconds", "waits_s"), [(2**63 - 1, 86_400.0), (-(2**63), 0.0), (20, 20.0)])
def test_waits_that_no_clock_has(refuse: Any, seconds: int, waits_s: float) -> None:
    """A wait that a daemon asks for is none below zero, and a day at most."""
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds))
    status = refuse(grpc.StatusCode.UNAVAILABLE, "", "x", retry).status
    assert errors.from_status(status).failure.retry_delay_s == waits_s
