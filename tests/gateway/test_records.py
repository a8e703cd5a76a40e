"""Records of Envoys: what is read back, who lives, what is left of those that ended."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from echoplaned.gateway.options import admin_socket, gateway_dir
from echoplaned.gateway.records import (
    EnvoyRecord,
    delete_ended,
    last_generation,
    read_live,
    record_path,
)
from echoplaned.worker_contract.locks import is_locked

RECORD = EnvoyRecord(3, 1, 77, "11.104", "d1", "127.0.0.1:80", "boot", 12, 34)


def put(state_dir: Path, record: EnvoyRecord, *, lock: bool) -> int:
    """Write a record; return the descriptor that holds its lock."""
    gateway_dir(state_dir).mkdir(exist_ok=True)
    descriptor = os.open(record_path(state_dir, record.generation), os.O_RDWR | os.O_CREAT, 0o600)
    os.write(descriptor, record.to_json().encode())
    if lock:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_record_is_read_back() -> None:
    """What was written is what is read."""
    assert EnvoyRecord.from_json(RECORD.to_json()) == RECORD


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"generation": "1"}', RECORD.to_json().replace("34", "true")])
def test_what_is_no_record_is_refused(text: str) -> None:
    """Damaged text, missing fields and values of another type are no record."""
    with pytest.raises(ValueError, match=r".*"):
        EnvoyRecord.from_json(text)


def test_who_holds_the_lock_lives(tmp_path: Path) -> None:
    """Only held records are of live processes, the newest first; what the others left goes, but the newest keeps the count."""
    live = put(tmp_path, RECORD, lock=True)
    for generation in (2, 4):
        os.close(put(tmp_path, EnvoyRecord(generation, 0, 77, "", "", "", ""), lock=False))
    admin_socket(tmp_path, 2).touch()
    assert [each.generation for each in read_live(tmp_path)] == [3]
    assert last_generation(tmp_path) == 4
    delete_ended(tmp_path)
    assert not admin_socket(tmp_path, 2).exists()
    assert {path.name for path in gateway_dir(tmp_path).iterdir()} == {"envoy-3.json", "envoy-4.json"}
    os.close(live)
    assert not is_locked(record_path(tmp_path, 3))
    assert read_live(tmp_path) == []


def test_an_empty_directory_has_nobody(tmp_path: Path) -> None:
    """Nothing was ever started."""
    assert (read_live(tmp_path), last_generation(tmp_path)) == ([], 0)
    delete_ended(tmp_path)


def test_two_that_look_do_not_take_each_other_for_a_process(tmp_path: Path) -> None:
    """A lock that another one has for its look is not an Envoy's."""
    looking = put(tmp_path, RECORD, lock=False)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert not is_locked(record_path(tmp_path, RECORD.generation))
    os.close(looking)
