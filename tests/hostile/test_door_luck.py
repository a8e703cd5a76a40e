"""Bad luck at the front door, with the real Envoy and daemon: callers leave, processes die, engines go deaf, streams are long."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest

from echoplane import Client
from echoplane.errors import UnavailableError
from echoplane.v1 import models_pb2, rollouts_pb2
from tests.e2e import e2e_system as e
from tests.gateway.gateway_stage import CHAT, CutAnswerError
from tests.hostile import hostile_door as d
from tests.hostile.read_only import MountDeniedError, mounted_read_only

CUT = "cut"
ECHO = rollouts_pb2.EchoPolicy(enabled=False)
"""This engine says the same whatever it is asked."""


@pytest.fixture(scope="module")
def door() -> Iterator[d.DoorTarget]:
    """A gateway with one model, whose engine writes ten tokens a second."""
    with d.door_target() as target:
        d.load(target, models_pb2.LoadModelRequest(**d.paced()))
        yield target


@dataclass
class LongStream:
    """A stream that is read in a thread of its own, and goes on until it is enough.

    Attributes:
        door: where it is asked for.
        seen: indices of the tokens that came.
        version: that answers.
        problem: why it ended before its end.
    """

    door: d.DoorTarget
    seen: list[int] = field(default_factory=list)
    version: str = ""
    problem: str = "not ended"

    def read(self) -> None:
        """Read to the end."""
        body = {"model": d.PACED, "stream": True, "max_tokens": 100_000, "messages": d.HELLO}
        with contextlib.closing(HTTPConnection(self.door.listening, timeout=60.0)) as connection:
            try:
                connection.request("POST", CHAT, json.dumps(body), {"content-type": "application/json"})
                answer = connection.getresponse()
                self.version = str(answer.headers["x-model-version"])
                for line in iter(answer.readline, b""):
                    if line.startswith(b"data: {"):
                        self.seen.append(json.loads(line[6:])["index"])
                    elif line.startswith(b"data: [DONE]"):
                        self.problem = ""
            except (OSError, HTTPException) as error:
                self.problem = repr(error)


@contextlib.contextmanager
def streaming(door: d.DoorTarget, count: int = 1) -> Iterator[list[LongStream]]:
    """Read streams beside what is done; none is cut, none lacks a token."""
    streams = [LongStream(door) for _ in range(count)]
    reading = [threading.Thread(target=each.read) for each in streams]
    for each in reading:
        each.start()
    enough = d.paced_folder(door) / "enough"
    try:
        e.eventually(lambda: all(each.seen for each in streams), 60.0, "the streams' first tokens")
        yield streams
        cut = [(each.version, each.problem) for each in streams if each.problem != "not ended"]
        assert not cut, "these were over before the end of what they shall outlive"
    finally:
        enough.touch()
        for each in reading:
            each.join(60.0)
        enough.unlink()
    for stream in streams:
        assert (stream.problem, stream.seen) == ("", list(range(len(stream.seen)))), stream.version


@contextlib.contextmanager
def load(door: d.DoorTarget, threads: int = 4) -> Iterator[list[tuple[float, str, str]]]:
    """Call again and again; yield what came of it: when it ended, version, and problem or nothing."""
    found: list[tuple[float, str, str]] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            version, problem = "", ""
            try:
                answer = door.chat(max_tokens=1)
                version = answer.headers.get("x-model-version", "")
                problem = "" if answer.status == 200 else f"{answer.status} {answer.json()['error']['code']}"
            except CutAnswerError as error:
                version, problem = error.headers.get("x-model-version", ""), CUT
            except (OSError, HTTPException) as error:
                problem = repr(error)
            found.append((time.monotonic(), version, problem))
            if problem:
                time.sleep(0.05)

    calling = [threading.Thread(target=call) for _ in range(threads)]
    for each in calling:
        each.start()
    try:
        yield found
    finally:
        stop.set()
        for each in calling:
            each.join()


@contextlib.contextmanager
def rollout(
    door: d.DoorTarget, version: str, context: int, **policy: Any
) -> Iterator[Callable[[], rollouts_pb2.Rollout]]:
    """Begin an update; yield what looks at its rollout."""
    with Client(door.daemon.address, e.ONCE) as client:
        known = {each.name for each in client.list_rollouts(d.PACED)}
        # Of a command's calls nothing is counted but what clients report; probes decide here.
        rules = e.fast_policy(probe_count=3, stage_max_s=240, echo=ECHO, **policy)
        client.update_model(models_pb2.UpdateModelRequest(**d.paced(version, context), policy=rules))

        def look() -> rollouts_pb2.Rollout:
            (name,) = {each.name for each in client.list_rollouts(d.PACED)} - known
            return client.get_rollout(name)

        yield look


def ended(look: Callable[[], rollouts_pb2.Rollout], timeout_s: float = 200.0) -> rollouts_pb2.Rollout:
    """Wait for a rollout's outcome."""
    e.eventually(lambda: bool(look().outcome), timeout_s, "the rollout's end")
    return look()


def serving(door: d.DoorTarget) -> str:
    """Return the version that has all of the traffic; tests before this one may have updated it."""
    with Client(door.daemon.address) as client:
        return client.get_model(d.PACED).serving_version.rpartition("/")[2]


def test_a_caller_that_leaves(door: d.DoorTarget) -> None:
    """The engine hears of it within a token, and stops."""
    before = d.counts_at_rest(door)
    body = {"model": d.PACED, "stream": True, "max_tokens": 1000, "messages": d.HELLO}
    with contextlib.closing(HTTPConnection(door.listening, timeout=30.0)) as connection:
        connection.request("POST", CHAT, json.dumps(body), {"content-type": "application/json"})
        assert connection.getresponse().readline().startswith(b"data:")
        assert d.counts(door)["running"] == before["running"] + 1
    e.eventually(lambda: d.counts(door)["left"] > before["left"], 10.0, "the engine's end of it")
    # It tells that the caller left, and then, in a second file, that nothing runs.
    e.eventually(lambda: d.counts(door)["running"] == before["running"], 10.0, "the end of its work")


def test_a_stage_change_and_a_drain_cut_no_stream(door: d.DoorTarget) -> None:
    """A stream of the old version outlives each stage and the new version's promotion, and the old one's drain waits for it."""
    with rollout(door, "v2", 192, stages_percent=(50, 100)) as look:
        with streaming(door) as (stream,):
            e.eventually(lambda: look().stage >= 2, 120.0, "the second stage")
            e.eventually(lambda: door.chat().headers["x-model-version"] == "v2", 60.0, "the new version")
            e.pause(3.0)
        assert stream.version == "v1"
        assert ended(look).outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED


def test_a_hot_restart_cuts_no_stream(door: d.DoorTarget) -> None:
    """Another Envoy takes over at the daemon's start, as its settings differ; the old one ends its streams, and nobody is refused."""
    (before,) = door.daemon.gateways()
    with streaming(door), load(door, 1) as calls:
        assert door.daemon.stop(120.0) == 0
        door.daemon.extra += ("--gateway-max-connections", "9000")
        door.daemon.start(300.0)
        e.eventually(lambda: "gateway.replaced" in door.daemon.tail(50_000), 60.0, "the other Envoy")
        count = len(calls)
        e.eventually(lambda: len(calls) > count + 20, 60.0, "calls of the other Envoy")
        assert before.is_running(), "it has a stream to end"
    assert {problem for _, _, problem in calls} == {""}


def test_envoy_is_killed_under_load(door: d.DoorTarget) -> None:
    """What was in flight fails, and what comes before the next Envoy listens; then everything is answered, within seconds."""
    with Client(door.daemon.address) as client:  # one that was replaced may still drain
        pid = client.get_status().gateway.pid
    with load(door) as calls:
        e.eventually(lambda: len(calls) > 20, 30.0, "answers")
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        e.eventually(lambda: any(when > at + 0.05 and not problem for when, _, problem in calls), 30.0, "an answer")
        e.pause(2.0)
    failed = [when for when, _, problem in calls if problem]
    assert failed, "a call was in flight"
    assert min(failed) >= at
    first = min(when for when, _, problem in calls if not problem and when > max(failed))
    print(f"{len(failed)} of {len(calls)} calls failed, the next answer came {first - at:.2f} s after the kill")  # noqa: T201 - a measurement
    assert first - at < 15.0


def test_envoy_dies_while_the_daemon_is_away(door: d.DoorTarget) -> None:
    """It serves on without the daemon; when it dies too nothing answers until the daemon is back, which starts another one."""
    door.daemon.kill()
    assert door.chat().status == 200
    for each in door.daemon.gateways():
        os.kill(each.pid, signal.SIGKILL)
    e.eventually(lambda: not door.daemon.gateways(), 10.0, "the end of Envoy")
    e.pause(2.0)
    assert not d.answers(door)
    began = time.monotonic()
    start_s = door.daemon.start(300.0)
    e.eventually(lambda: d.answers(door), 60.0, "an answer")
    print(f"the daemon took {start_s:.2f} s, the first answer {time.monotonic() - began:.2f} s")  # noqa: T201 - a measurement


def makes_keys(door: d.DoorTarget) -> bool:
    """Whether the daemon answers on its own socket."""
    with contextlib.suppress(UnavailableError):
        return door.make_key() != ""
    return False


def test_a_daemon_that_starts_on_a_disk_it_cannot_write(door: d.DoorTarget) -> None:
    """Calls go on through the Envoy that runs; once the disk is written again, the gateway follows the daemon, and keys are made."""
    (before,) = door.daemon.gateways()
    door.daemon.kill()
    try:
        with mounted_read_only(door.daemon.state_dir) as make_writable, load(door) as calls:
            door.daemon.start(300.0)
            waits = [line for line in door.daemon.tail(50_000).splitlines() if "socket.waits" in line]
            assert any("api.sock" in line for line in waits)
            assert len(waits) >= 2
            e.pause(2.0)
            make_writable()
            e.eventually(lambda: makes_keys(door), 30.0, "the daemon's own socket")
            d.load(door, models_pb2.LoadModelRequest(**{**d.paced(), "model_id": "fresh"}))
    except MountDeniedError:
        door.daemon.start(300.0)
        pytest.skip("mounting is not permitted here")
    assert {problem for _, _, problem in calls} == {""}
    assert door.daemon.gateways() == [before]
    door.daemon.kill()  # it was started on the mount
    door.daemon.start(300.0)
    e.eventually(lambda: d.answers(door, "fresh"), 60.0, "an answer of what was loaded then")


def test_a_rollback_cuts_no_stream(door: d.DoorTarget) -> None:
    """A new version's streams are read to their ends though its rollout was aborted meanwhile."""
    old = serving(door)
    with (
        Client(door.daemon.address) as client,
        rollout(door, "v3", 160, stages_percent=(50, 100), stage_min_s=60.0) as look,
    ):
        e.eventually(lambda: look().stage >= 1, 120.0, "the first stage")
        e.eventually(lambda: door.chat().headers["x-model-version"] == "v3", 60.0, "an answer of the new version")
        with streaming(door, 8) as streams:
            assert {each.version for each in streams} >= {"v3"}, (
                "of eight streams at half the weight none went to the new version"
            )
            client.abort_rollout(look().name)
            e.eventually(
                lambda: {door.chat().headers["x-model-version"] for _ in range(10)} == {old},
                60.0,
                "the old version alone",
            )
            e.pause(3.0)
        assert ended(look).outcome == rollouts_pb2.ROLLOUT_OUTCOME_ROLLED_BACK


def test_an_engine_closes_its_port_at_half_the_weight(door: d.DoorTarget) -> None:
    """The version is rolled back; only requests that were drawn for it fail, each with 503 and when to come back."""
    old = serving(door)
    with rollout(door, "v4", 128, stages_percent=(50, 100), stage_min_s=60.0) as look, load(door) as calls:
        e.eventually(
            lambda: look().stage >= 1 and "v4" in {version for _, version, _ in calls}, 60.0, "half the weight"
        )
        (d.paced_folder(door) / "128.closed").touch()
        found = ended(look)
    assert found.outcome == rollouts_pb2.ROLLOUT_OUTCOME_ROLLED_BACK, found
    failed = [(version, problem) for _, version, problem in calls if problem]
    print(f"{len(failed)} of {len(calls)} calls failed; {found.outcome_reason}")  # noqa: T201 - a measurement
    assert set(failed) <= {("v4", "503 model_unavailable"), ("v4", CUT)}, "a closed port cuts an answer that has begun"
    assert {door.chat().headers["x-model-version"] for _ in range(10)} == {old}
