"""What may be published, and when; who follows it."""

from __future__ import annotations

import pytest

from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.names import ResourceType
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest
from tests.xds import xds_harness as h

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
ONE = h.routes("m", 1, v1=(TOTAL, ["127.0.0.1:7001"]))


def test_the_publisher_is_closed_until_it_is_opened() -> None:
    """No publication and no stream before the recovered state; a bad one leaves it closed."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    with pytest.raises(RuntimeError):
        publisher.publish_model(ONE)
    with pytest.raises(RuntimeError):
        publisher.attach(StreamNode("a"), lambda: None, delta=False)
    with pytest.raises(snapshots.SnapshotInconsistentError):
        publisher.open({"m": h.routes("m", 1, v1=(5, []))})
    with pytest.raises(RuntimeError):
        publisher.publish({})
    publisher.open({})
    publisher.publish_model(ONE)
    assert publisher.snapshot.epoch_of("m") == 1


def test_a_bad_publication_changes_nothing() -> None:
    """What is inconsistent is refused as a whole; the snapshot stays."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({"m": ONE})
    before = publisher.snapshot
    with pytest.raises(snapshots.SnapshotInconsistentError):
        publisher.publish({"m": ONE, "n": h.routes("n", 1, v1=(5, []))})
    assert publisher.snapshot is before


def test_the_whole_state_can_be_published_at_once() -> None:
    """Models that are left out go; those that are as before are not told again."""
    observer = h.Recorder()
    publisher = Publisher(observer, h.FakeClock())
    publisher.open({"m": ONE, "n": h.routes("n", 1, v1=(TOTAL, []))})
    observer.lines.clear()
    publisher.publish({"m": ONE, "o": h.routes("o", 2, v1=(TOTAL, []))})
    assert observer.lines == ["acknowledged o e2 0/0"]
    assert set(publisher.snapshot.models) == {"m", "o"}


def test_the_wrong_kind_of_request_is_an_error() -> None:
    """A delta request on a state-of-the-world stream is a mistake of the caller."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({})
    connection = publisher.attach(StreamNode("a"), lambda: None, delta=False)
    with pytest.raises(TypeError):
        connection.receive(DeltaRequest(CDS))


async def test_a_model_is_followed_from_when_it_is_published() -> None:
    """A name that nobody has published costs its stream a name; once published, the stream is a follower like any other."""
    observer = h.Recorder()
    publisher = Publisher(observer, h.FakeClock())
    publisher.open({})
    connection = publisher.attach(StreamNode("early"), lambda: None, delta=False)
    connection.receive(SotwRequest(LDS, ("models/m", "models/other")))
    assert publisher._tracker._tracks == {}
    publisher.publish_model(ONE)
    assert "subscribers m 1" in observer.lines
    publisher.remove_model("m")
    assert publisher._tracker._tracks == {}
    publisher.publish_model(ONE)
    assert [each.models for each in publisher.subscribers()] == [("m",)]
    connection.close()
    assert publisher._tracker._followed == {}
