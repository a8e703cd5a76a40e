"""The command where its output has nowhere to go: one line on stderr and exit code 1, as far as there is a stderr."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from echoplane.v1 import keys_pb2, models_pb2, rollouts_pb2
from echoplane.v1 import operations_pb2 as metadata_pb2

COMMAND = str(Path(sys.executable).with_name("echoplane"))
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


def shell(daemon: Any, line: str, *, by: str = "/bin/sh") -> subprocess.CompletedProcess[bytes]:
    """Run the command by a shell, which knows how to close a stream."""
    daemon.on("ListModels", models_pb2.ListModelsResponse(models=[{"name": "models/minilm"}]))
    return subprocess.run(
        [by, "-c", f'"$COMMAND" {line}'],
        env={**os.environ, "COMMAND": COMMAND, "ECHOPLANE_ADDRESS": daemon.address},
        capture_output=True,
        timeout=60,
        check=False,
    )


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["ls", "--help"])
def test_a_full_disk_is_one_line(daemon: Any, monkeypatch: Any, command: str, unbuffered: str) -> None:
    """What stdout does not take is said once, whoever writes it, and Python's end adds nothing."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = shell(daemon, f"{command} >{FULL}")
    assert done.returncode == 1
    assert done.stderr == b"error: stdout cannot be written: No space left on device\n"


def test_a_closed_stdout_is_one_line(daemon: Any) -> None:
    """Without stdout nothing is asked of the daemon, as nobody could see what came of it."""
    done = shell(daemon, "ls >&-")
    assert done.returncode == 1
    assert done.stderr == b"error: stdout is closed: there is nowhere to print the answer\n"
    assert daemon.requests == []


def test_a_closed_stderr_loses_notes_only(daemon: Any) -> None:
    """An answer needs no stderr; an error without one is the exit code."""
    done = shell(daemon, "ls 2>&-")
    assert done.returncode == 0
    assert b"minilm" in done.stdout
    daemon.stop()
    assert shell(daemon, "ls 2>&-").returncode == 1


@needs_full
def test_a_full_stderr_is_the_exit_code(daemon: Any) -> None:
    """Nothing can be said there, and the exit code is the same."""
    daemon.stop()
    assert shell(daemon, f"ls 2>{FULL}").returncode == 1


def test_a_closed_pipe_is_quiet(daemon: Any) -> None:
    """A reader that has seen enough, as `head` does, is no fault."""
    done = shell(daemon, "ls | true")
    assert done.stderr == b""


@needs_full
@pytest.mark.parametrize("stderr", [f"2>{FULL}", "2>&-", "2> >(exec 0<&-; sleep 0.2)"])
def test_a_key_is_not_lost_with_stderr(daemon: Any, stderr: str) -> None:
    """A key is in force once it is made: it is printed, whatever becomes of the line on stderr."""
    daemon.on("CreateKey", keys_pb2.CreateKeyResponse(key={"name": "keys/a"}, secret="ep_a_b"))
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        daemon.stop()
        daemon.socket = f"{folder}/api.sock"
        daemon.start()
        done = shell(daemon, f"key create --state-dir {folder} {stderr}", by="/bin/bash")
    assert (done.returncode, done.stdout) == (0, b"ep_a_b\n")


@needs_full
def test_a_full_stderr_ends_no_wait(daemon: Any, running: Any) -> None:
    """Progress that nobody can read is left out; a load and an update are waited for, and their results printed."""
    going = running(metadata_pb2.OperationMetadata(phase=metadata_pb2.OPERATION_PHASE_LOADING))
    daemon.on("LoadModel", going)
    daemon.on(
        "GetOperation", running(metadata_pb2.OperationMetadata(), models_pb2.ModelVersion(name="models/m/versions/v"))
    )
    done = shell(daemon, f"load m /m 2>{FULL}")
    assert (done.returncode, b"models/m/versions/v" in done.stdout) == (0, True)
    rollout = "models/m/rollouts/r"
    daemon.on("UpdateModel", running(metadata_pb2.OperationMetadata(rollout=rollout)))
    daemon.on("WatchRollout", [rollouts_pb2.Rollout(name=rollout, outcome=rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED)])
    done = shell(daemon, f"update m /m 2>{FULL}")
    assert (done.returncode, b"models/m/versions/v" in done.stdout) == (0, True)
