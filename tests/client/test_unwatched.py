"""What the daemon accepted and then does not let be watched: the command says so, and waits for the end all the same."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from echoplane.cli import follow
from echoplane.v1 import models_pb2, rollouts_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2

ROLLOUT = "models/minilm/rollouts/r1"
METADATA = metadata_pb2.OperationMetadata(target="models/minilm", rollout=ROLLOUT)


@pytest.fixture
def full(daemon: Any, refuse: Any) -> None:
    """Let every watch be one too many."""
    daemon.on("WatchRollout", [refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", "1 watcher at most")])


@pytest.mark.usefixtures("full")
def test_an_update_is_waited_for(daemon: Any, cli: Any, running: Any, refuse: Any) -> None:
    """The exit code is the update's, and stderr has the operation that goes on."""
    daemon.on("UpdateModel", running(METADATA))
    daemon.on("GetOperation", running(METADATA), running(METADATA, models_pb2.Model(name="models/minilm")))
    result = cli("update", "minilm", "/m")
    assert result.exit_code == 0, result.output
    assert "operations/o1 goes on" in result.stderr
    assert "LIMIT_EXCEEDED: 1 watcher at most" in result.stderr
    assert "error:" not in result.stderr
    daemon.on("GetOperation", running(METADATA, error=refuse(grpc.StatusCode.ABORTED, "ROLLED_BACK", "new fails")))
    assert cli("update", "minilm", "/m").exit_code == 1


@pytest.mark.usefixtures("full")
def test_an_abort_is_waited_for(daemon: Any, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rollout is looked at until its outcome is known; where that is not in time, the command does not end with 0."""
    monkeypatch.setattr(follow, "_LOOK_S", 0.01)
    going = rollouts_pb2.Rollout(name=ROLLOUT)
    daemon.on("AbortRollout", going)
    daemon.on("GetRollout", going, going, rollouts_pb2.Rollout(outcome=rollouts_pb2.ROLLOUT_OUTCOME_ROLLED_BACK))
    result = cli("rollout", "abort", ROLLOUT)
    assert result.exit_code == 0, result.output
    assert "models/minilm/rollouts/r1 goes on" in result.stderr
    assert "ROLLED_BACK" in result.stdout
    daemon.on("GetRollout", going)
    result = cli("rollout", "abort", ROLLOUT, "--timeout", "0.3")
    assert result.exit_code == 1
    assert "models/minilm/rollouts/r1 is still under way after 0.3 s" in result.stderr


def test_the_time_is_that_of_watch_and_wait_together(daemon: Any, cli: Any, running: Any) -> None:
    """A watch that takes all of it leaves the wait none, and the operation is named."""

    def slow(_: Any) -> list[Any]:
        time.sleep(2)  # the server is what is slow here
        return []

    daemon.on("UpdateModel", running(METADATA))
    daemon.on("GetOperation", running(METADATA))
    daemon.on("WatchRollout", slow)
    result = cli("update", "minilm", "/m", "--timeout", "0.5")
    assert result.exit_code == 1
    assert "operations/o1 is still under way after 0.5 s" in result.stderr
