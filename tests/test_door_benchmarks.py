"""The gateway's benchmarks: what they make of what they saw, and their server and callers against each other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.door import overhead, rollouts
from benchmarks.door.blame import Ended, acknowledgements_s, as_mixed, back_s, blame
from benchmarks.door.outages import Struck, fold
from benchmarks.door.overhead import BARE, DIRECT, DOOR, LITELLM, Round
from benchmarks.door.rollouts import Story
from benchmarks.door.versions import KILLED, Candidate, Sources
from benchmarks.peers import door_backend, door_load, door_probe, door_watch
from benchmarks.peers.door_crowd import Crowd
from benchmarks.peers.door_mixed import CHATTING, REST, Mixed
from benchmarks.peers.door_watch import OK, SHORT, STREAM, Watched
from echoplane.v1 import rollouts_pb2
from echoplaned.testing.loadgen import Sample

GOOD = Candidate("chat", "v1", Path("a"))
BAD = Candidate("chat", "v2", Path("b"), "wrong quantisation")
DEAD = Candidate("chat", "v3", Path("a"), KILLED)


def ended(candidate: Candidate, outcome: str, *, struck_s: float = 0.0, reason: str = "") -> Ended:
    """Make a rollout that ended at 200."""
    return Ended(candidate, outcome, reason, 10.0, struck_s, 200.0, ())


def test_an_outage_is_told_apart() -> None:
    """Failures count by when the request was begun: under way at the kill, before the next answer, and after it."""
    seen = [
        Watched(SHORT, 8.0, 8.1, OK),
        Watched(SHORT, 9.99, 10.0, "ConnectionResetError"),
        Watched(STREAM, 9.0, 10.0, "cut after 3 of 30 pieces"),
        Watched(SHORT, 10.1, 10.1, "ConnectionRefusedError"),
        Watched(STREAM, 10.2, 10.2, "ConnectionRefusedError"),
        Watched(SHORT, 10.4, 10.6, OK),
        Watched(SHORT, 10.7, 10.8, "503"),
    ]
    outage = fold([Watched.read(each.line()) for each in seen], Struck(10.0, 10.3, 0.5))
    assert (outage.requests, outage.streams) == (5, 2)
    assert (outage.in_flight, outage.cut, outage.refused, outage.later, outage.lost) == (1, 1, 2, 1, 4)
    assert (outage.answer_s, outage.respawn_s, outage.after_respawn_s) == pytest.approx((0.6, 0.3, 0.3))
    with pytest.raises(RuntimeError, match="no request was answered"):
        fold(seen[:4], Struck(10.0, 10.3))


def test_who_is_to_blame() -> None:
    """A bad version answers for itself; what was under way in a killed one is its own; everything else is ours."""
    rollouts = [ended(GOOD, "SUCCEEDED"), ended(BAD, "ROLLED_BACK"), ended(DEAD, "ROLLED_BACK", struck_s=150.0)]
    by_bad = Mixed(REST, "chat", 50.0, 51.0, "v2", "500")
    under_way = Mixed(CHATTING, "chat", 149.0, 151.0, "", "UNAVAILABLE")
    too_late = Mixed(CHATTING, "chat", 201.0, 202.0, "", "UNAVAILABLE")
    another_model = Mixed(REST, "minilm", 149.0, 151.0, "", "503")
    by_good = Mixed(CHATTING, "chat", 149.0, 151.0, "v1", "EOFError the stream was cut")
    fine = Mixed(CHATTING, "chat", 149.0, 151.0, "v1", "ok")
    seen = [by_bad, under_way, too_late, another_model, by_good, fine]
    found = blame([Mixed.read(each.line()) for each in seen], rollouts)
    assert found.bad == (by_bad,)
    assert found.struck == (under_way,)
    assert found.others == (too_late, another_model, by_good)
    assert found.cut == 1
    native = next(as_mixed([Sample(10.0, "v1", "UNAVAILABLE", 500.0, "long", "gone")], "chat"))
    assert (native.began_s, native.ended_s, native.outcome) == (9.5, 10.0, "UNAVAILABLE gone")


def test_what_a_rollout_must_come_to() -> None:
    """A good one serves; a bad one is taken back and says why."""
    assert ended(GOOD, "SUCCEEDED").as_it_must
    assert not ended(GOOD, "ROLLED_BACK", reason="x").as_it_must
    assert ended(BAD, "ROLLED_BACK", reason="x").as_it_must
    assert not ended(BAD, "ROLLED_BACK").as_it_must
    assert not ended(BAD, "SUCCEEDED").as_it_must


def test_the_table_of_rollouts() -> None:
    """What must be 0 is, where only a bad version failed; a good one that was taken back is told."""
    by_bad = Mixed(REST, "chat", 50.0, 51.0, "v2", "500")
    fine = Mixed(CHATTING, "chat", 149.0, 151.0, "v1", "ok")
    bad = Ended(BAD, "ROLLED_BACK", "worse", 12.0, 0.0, 200.0, (0.2, 1.5))
    found = {row.name: row for row in rollouts.rows(Story([ended(GOOD, "SUCCEEDED"), bad], [by_bad, fine]))}
    must = {name: row.met for name, row in found.items() if row.aim == "0"}
    assert set(must.values()) == {True}
    assert len(must) == 4
    slowest = found["verdict to the last acknowledgement, worst of 2 changes"]
    assert (slowest.value, slowest.met) == (1.5, False)
    taken_back = {row.name: row for row in rollouts.rows(Story([ended(GOOD, "ROLLED_BACK")], [fine]))}
    assert taken_back["1 good rollouts: not SUCCEEDED"].met is False


def test_versions_take_turns(tmp_path: Path) -> None:
    """Good and bad by turns, each fault in its turn, and every version with a name of its own."""
    sources = Sources({"": tmp_path / "a", "wrong quantisation": tmp_path / "b"}, {"": tmp_path / "c"}, "llama_cpp")
    made = sources.candidates("chat", 8)
    assert [each.fault for each in made] == [
        "",
        "wrong quantisation",
        "",
        "killed",
        "",
        "stopped",
        "",
        "wrong quantisation",
    ]
    assert len({each.version for each in made}) == 8
    assert made[1].source == tmp_path / "b"
    assert made[3].source == tmp_path / "a"
    assert (made[0].load().engine, made[0].load().context_length > 0) == ("llama_cpp", True)
    assert sources.first("minilm").load().engine == ""


def test_times_of_a_history() -> None:
    """From each change of routes to the acknowledgement that follows it; back once the old version has the traffic."""
    history = []
    for at_ms, kind in (
        (1_000, "published"),
        (1_200, "acknowledged"),
        (5_000, "held"),
        (6_000, "reverting"),
        (6_450, "cleaning"),
        (8_000, "ended"),
    ):
        event = rollouts_pb2.RolloutEvent(kind=kind)
        event.time.FromMilliseconds(at_ms)
        history.append(event)
    assert acknowledgements_s(history) == (0.2, 0.45)
    assert back_s(history) == 6.45
    assert back_s(history[:2]) == 1.2


def test_the_table_of_ways() -> None:
    """The gateway's CPU stands beside the bare Envoy's, and LiteLLM's throughput beside the gateway's, with their aims."""
    seen = [
        Round(DIRECT, 1, 4000.0, 0.2, 0.4, 0.0, 0.1, 0),
        Round(DOOR, 1, 2000.0, 0.5, 0.9, 0.3, 0.1, 0),
        Round(BARE, 1, 3000.0, 0.4, 0.8, 0.25, 0.1, 0),
        Round(LITELLM, 1, 100.0, 9.0, 20.0, 9.0, 0.1, 1),
    ]
    found = {row.name: row for row in overhead.rows(seen)}
    cpu = found["gateway, 1 in flight: CPU of the proxy"]
    assert (cpu.reference_value, cpu.limit, cpu.met) == (0.25, 0.375, True)
    throughput = found["LiteLLM, 1 in flight: throughput"]
    assert (throughput.reference_value, throughput.limit, throughput.met) == (2000.0, 200.0, True)
    assert found["LiteLLM, 1 in flight: failed"].met is False
    (ceiling,) = overhead.load_rows(seen)
    assert ceiling.value == pytest.approx(10_000.0)


def test_ends_of_answers() -> None:
    """A length, chunks, and neither yet; the version is read whatever the header's case."""
    assert door_load.whole(door_backend.HEALTHY)
    assert not door_load.whole(door_backend.HEALTHY[:-1])
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    assert not door_load.whole(chunked)
    assert door_load.whole(chunked + b"0\r\n\r\n")
    assert door_probe.version_of(b"HTTP/1.1 200 OK\r\nX-Model-Version: v2\r\na: b") == "v2"
    assert door_probe.version_of(b"HTTP/1.1 404 Not Found\r\na: b") == ""


@pytest.fixture
def backend() -> Iterator[str]:
    """The server's address."""
    command = [sys.executable, "-I", "-S", door_backend.__file__, "--interval", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


async def test_the_server_and_its_callers(backend: str) -> None:
    """Short requests and whole streams are told from others; a crowd holds its connections; a closed loop counts its answers."""
    assert await door_watch.short(backend, "m") == OK
    assert await door_watch.stream(backend, "m", 5) == OK
    crowd = Crowd(backend, "m")
    assert await crowd.hold(20) == {"held": 20, "failed": 0}
    called = await crowd.call(100.0, 0.3)
    assert (called["failed"], called["lost"]) == (0, 0)
    assert called["latencies_ms"]
    await crowd.close()
    told = await door_load.load({"address": backend, "model": "m", "in_flight": 2, "seconds": 0.2})
    assert int(str(told["answers"])) > 0
    assert told["failed"] == {}


async def test_a_cut_stream_is_told() -> None:
    """A server that ends in the middle of a stream, and one that is not there."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\ndata: {}\n\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        assert await door_watch.stream(address, "m", 5) == "cut after 2 of 5 pieces"
    with pytest.raises(ConnectionRefusedError):
        await door_watch.short(address, "m")


def test_the_server_tells_texts_apart() -> None:
    """The same text is completed alike, and another one otherwise: the daemon's probes ask for that."""
    first, again, other = (door_backend.completion(text) for text in ("a", "a", "b"))
    assert first == again
    assert first != other
