"""The record that a worker keeps about itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.endpoints import Endpoint, EndpointProtocol
from echoplaned.worker_contract.record import (
    RecordFile,
    RecordTakenError,
    WorkerPhase,
    WorkerRecord,
    check_worker_id,
    delete_record,
    is_alive,
    read_boot_id,
    read_record,
    read_records,
    read_start_ticks,
    records_dir,
)
from echoplaned.worker_contract.version import CONTRACT_VERSION

RECORD = WorkerRecord(
    "w1",
    7,
    8,
    "boot",
    WorkerPhase.READY,
    "127.0.0.1:1",
    "m/v#0",
    3,
    kind="embedded-of-tomorrow",
    contract=CONTRACT_VERSION,
    mark="0123456789abcdef/w1/0",
    control_key="5a" * 32,
    endpoints=(
        Endpoint(EndpointProtocol.OIP_GRPC, "tcp://127.0.0.1:1"),
        Endpoint(EndpointProtocol.OPENAI_HTTP, "unix:/run/e/w1.sock"),
    ),
)


def test_a_record_comes_back_from_its_json() -> None:
    """Writing and reading are inverse; fields of a later release are ignored."""
    assert WorkerRecord.from_json(RECORD.to_json()) == RECORD
    data = json.loads(RECORD.to_json())
    assert WorkerRecord.from_json(json.dumps({**data, "colour": "red"})) == RECORD
    later = {"protocol": "TELEPATHY", "address": "tcp://127.0.0.1:2"}
    assert WorkerRecord.from_json(json.dumps({**data, "endpoints": [*data["endpoints"], later]})) == RECORD


def test_a_record_of_the_first_contract() -> None:
    """What the first releases wrote names no kind and no contract, and its one address is its endpoint."""
    text = (
        '{"address": "127.0.0.1:40123", "boot_id": "b", "generation": 2, "instance": "m/v1#0", "phase": "READY", "pid": 11,'
        ' "start_ticks": 12, "worker_id": "w-1"}'
    )
    record = WorkerRecord.from_json(text)
    assert (record.kind, record.contract, record.mark, record.control_key) == ("", 1, "", "")
    assert record.endpoints == (Endpoint(EndpointProtocol.OIP_GRPC, "tcp://127.0.0.1:40123"),)


@pytest.mark.parametrize("endpoints", ["7", "[7]", '[{"protocol": 1}]', '[{"address": "tcp://a:1"}]'])
def test_damaged_endpoints_damage_the_record(endpoints: str) -> None:
    """An endpoint that is none is no reason to dial half of them."""
    data = json.loads(RECORD.to_json())
    with pytest.raises(ValueError, match="endpoint"):
        WorkerRecord.from_json(json.dumps({**data, "endpoints": json.loads(endpoints)}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"worker_id": 5}',
        RECORD.to_json().replace("READY", "DANCING"),
        RECORD.to_json().replace("7", "true"),
    ],
)
def test_a_damaged_record_is_none(text: str, tmp_path: Path) -> None:
    """Whatever is in the file, reading it does no harm."""
    path = tmp_path / "w1.json"
    path.write_text(text)
    assert read_record(path) is None
    assert read_record(tmp_path / "missing.json") is None


def test_what_is_no_file_of_a_leader_is_no_record(state_dir: Path) -> None:
    """A directory, a link, a pipe, or another leader's record: none is read, none holds anybody up, and the others are."""
    record_file = RecordFile(state_dir, "w1", "kind")
    directory = records_dir(state_dir)
    (directory / "folder.json").mkdir()
    (directory / "loop.json").symlink_to(directory / "loop.json")
    (directory / "link.json").symlink_to(directory / "w1.json")
    os.mkfifo(directory / "pipe.json")
    (directory / "evil.json").write_text(replace(RECORD, worker_id="../../evil").to_json())
    assert [record.worker_id for record in read_records(state_dir)] == ["w1"]
    record_file.release()


def test_a_keeper_claims_updates_and_releases(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is there from the first moment, whole after each change, and gone in the end."""
    monkeypatch.setenv("ECHOPLANE_INSTANCE", "0123456789abcdef/w1/0")
    record_file = RecordFile(state_dir, "w1", "kind")
    (record,) = read_records(state_dir)
    assert (record.pid, record.phase, record.boot_id) == (os.getpid(), WorkerPhase.WARMING, read_boot_id())
    assert (record.kind, record.contract, record.mark) == ("kind", CONTRACT_VERSION, "0123456789abcdef/w1/0")
    record_file.update(WorkerPhase.WARMING, address="127.0.0.1:5")
    record_file.update(WorkerPhase.LOADING, instance="m/v#0", generation=2)
    (record,) = read_records(state_dir)
    assert (record.address, record.instance, record.generation) == ("127.0.0.1:5", "m/v#0", 2)
    assert [one.target for one in record.endpoints] == ["127.0.0.1:5"]
    (record_file.links_dir / "1_Pooling").mkdir(parents=True)
    record_file.release()
    assert list(records_dir(state_dir).iterdir()) == []


def test_a_record_is_for_its_own_user_alone(state_dir: Path) -> None:
    """The key is drawn anew by every leader, in a file and a directory that nobody else may read, and shown by no repr."""
    records_dir(state_dir).mkdir(mode=0o755)
    record_file = RecordFile(state_dir, "w1", "kind")
    record_file.update(WorkerPhase.STANDBY)
    path = records_dir(state_dir) / "w1.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    key = record_file.record.control_key
    assert read_records(state_dir)[0].control_key == key
    assert key not in repr(record_file.record)
    record_file.release()
    again = RecordFile(state_dir, "w1", "kind")
    assert again.record.control_key not in {key, ""}
    again.release()


@pytest.mark.parametrize("key", ["short", "5A" * 32, "\n" * 64])
def test_a_damaged_key_damages_the_record(key: str) -> None:
    """A leader whose key cannot be sent cannot be led: its record is no record."""
    data = json.loads(RECORD.to_json())
    with pytest.raises(ValueError, match="control_key"):
        WorkerRecord.from_json(json.dumps({**data, "control_key": key}))


def test_what_a_leader_left_in_the_middle_of_a_load_is_forgotten_with_it(state_dir: Path) -> None:
    """Links to the files of a checkpoint go with the record of a leader that was killed."""
    record_file = RecordFile(state_dir, "w1", "kind")
    record_file.links_dir.mkdir()
    (record_file.links_dir / "config.json").symlink_to("/proc/self/fd/99")
    delete_record(state_dir, "w1")
    assert list(records_dir(state_dir).iterdir()) == []
    record_file.release()


def test_an_id_is_claimed_once(state_dir: Path) -> None:
    """A second process with the same id is refused by the lock."""
    record_file = RecordFile(state_dir, "w1", "kind")
    with pytest.raises(RecordTakenError):
        RecordFile(state_dir, "w1", "kind")
    command = [sys.executable, "-m", "echoplaned.worker", "--worker-id", "w1", "--state-dir", str(state_dir)]
    assert subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 3
    record_file.release()


@pytest.mark.parametrize("worker_id", ["", "..", "a/b", "A", "a" * 64, "a\n", "-a"])
def test_an_id_cannot_leave_its_directory(worker_id: str) -> None:
    """Only plain names become file names."""
    with pytest.raises(ValueError, match="a worker id is"):
        check_worker_id(worker_id)


def test_alive_means_the_very_same_process() -> None:
    """A pid that was used again, or another boot, is another process."""
    pid = os.getpid()
    start_ticks = read_start_ticks(pid)
    assert start_ticks is not None
    mine = replace(RECORD, pid=pid, start_ticks=start_ticks, boot_id=read_boot_id())
    assert is_alive(mine, read_boot_id())
    assert not is_alive(replace(mine, start_ticks=start_ticks + 1), read_boot_id())
    assert not is_alive(mine, "another boot")
    assert not is_alive(replace(mine, pid=2**22 + 1), read_boot_id())


@pytest.mark.parametrize(
    "text",
    ["[" * 60_000, '{"a":' * 10_000, '{"pid": 1e999}', "NaN", "9" * 5000, "\x00", '{"endpoints": [[[]]]}'],
    ids=lambda text: text[:12],
)
def test_hostile_json_is_no_record(text: str, tmp_path: Path) -> None:
    """What is nested without end, or holds numbers that are none, is a damaged record and ends nothing."""
    path = tmp_path / "w1.json"
    path.write_text(text)
    assert read_record(path) is None


@pytest.mark.parametrize("field", ["pid", "start_ticks", "generation", "contract"])
def test_numbers_of_a_record_are_bounded(field: str) -> None:
    """A number that no process, clock or counter has is refused where the record is read."""
    for number in (-1, 2**63):
        with pytest.raises(ValueError, match=field):
            WorkerRecord.from_json(json.dumps({**json.loads(RECORD.to_json()), field: number}))
