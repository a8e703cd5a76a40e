"""What an engine writes: bounded, and read for steps and causes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echoplaned.engine_kinds import llama_cpp
from echoplaned.supervisor import log as log_module
from echoplaned.supervisor.launching import engine_of
from echoplaned.supervisor.log import MAX_LOG_BYTES, EngineLog
from echoplaned.supervisor.starting import why_ended

ENGINE = engine_of(llama_cpp.KIND)
BAD_FILE = b"""0.00.1 I srv    load_model: loading model '/m.gguf'
0.00.2 E gguf_init_from_reader: invalid magic characters: 'root', expected 'GGUF'
0.00.3 E llama_model_load: error loading model: llama_model_loader: failed to load model from /m.gguf
0.00.4 E srv  llama_server: exiting due to model loading error
"""


def test_steps_and_a_final_cause(tmp_path: Path) -> None:
    """Lines that come in pieces are lines; the first cause counts, and another start would end the same way."""
    log = EngineLog(tmp_path / "logs" / "w.log", ENGINE)
    for byte in range(0, len(BAD_FILE), 7):
        log.take(BAD_FILE[byte : byte + 7])
    assert log.step == "loading the model"
    error = why_ended(ENGINE, 1, log)
    assert "failed to load model" in str(error)
    assert "exit code 1" in str(error)
    assert not error.retryable


def test_an_unknown_end_may_be_tried_again(tmp_path: Path) -> None:
    """The last line is the reason, and nothing is known of it."""
    log = EngineLog(tmp_path / "w.log", ENGINE)
    assert "it wrote nothing" in str(why_ended(ENGINE, -9, log))
    assert why_ended(ENGINE, -9, log).retryable
    for_another_cpu = why_ended(ENGINE, -4, log)
    assert "was killed by SIGILL" in str(for_another_cpu)
    assert "install a build for this machine" in str(for_another_cpu)
    assert not for_another_cpu.retryable
    assert "was killed by signal 40 before" in str(why_ended(ENGINE, -40, log)), "most real-time signals have no name"
    log.take(b"terminate called after throwing\nno newline at the end")
    error = why_ended(ENGINE, -6, log)
    assert "SIGABRT" in str(error)
    assert "terminate called" in str(error)
    assert error.retryable


def test_two_files_of_bounded_size(tmp_path: Path) -> None:
    """The old one is kept under a name that is pruned as every log is; nobody else may read either."""
    saved = os.dup(1), os.dup(2)
    try:
        log = EngineLog(tmp_path / "w.log", ENGINE)
        chunk = b"y" * 65_535 + b"\n"
        for _ in range(3 * MAX_LOG_BYTES // len(chunk)):
            log.take(chunk)
    finally:
        for stream, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["w.1.log", "w.log"]
    assert all(path.stat().st_size <= MAX_LOG_BYTES for path in tmp_path.iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    """What the lines mean is read all the same: a log is not worth an engine."""
    log = EngineLog(tmp_path / "w.log", ENGINE)
    log._file = os.open("/dev/full", os.O_WRONLY)
    log.note("a note with half a character: \ud800")
    log.take(BAD_FILE)
    os.close(log._file)
    assert "failed to load model" in log.why()
    assert not (tmp_path / "w.log").read_bytes()


def test_a_log_that_cannot_be_begun_anew_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output is lost until the disk takes it again; then it goes on in a new file, beside the old one."""
    open_file, is_full = log_module._open, False

    def refuse(path: Path) -> int:
        if is_full:
            raise OSError(28, "No space left on device")
        return open_file(path)

    monkeypatch.setattr(log_module, "_open", refuse)
    monkeypatch.setattr(log_module, "MAX_LOG_BYTES", 100)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    log = EngineLog(tmp_path / "w.log", ENGINE)
    log.take(b"x" * 99 + b"\n")
    is_full = True
    for _ in range(3):
        log.take(b"y" * 49 + b"\n")
        log.note("n")
    assert [path.read_bytes()[:1] for path in tmp_path.iterdir()] == [b"x"]
    is_full = False
    log.take(b"z" * 49 + b"\n")
    assert {path.name: path.read_bytes()[:1] for path in tmp_path.iterdir()} == {"w.1.log": b"x", "w.log": b"z"}
