"""Evidence in files: written whole or not at all, private, and gone with its rollout."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from echoplaned.store.evidence_files import FOLDER, EvidenceFiles


def test_what_is_saved_is_there_for_another_daemon(tmp_path: Path) -> None:
    """The newest content is read back, by nobody but its owner; what is forgotten is gone."""
    files = EvidenceFiles(tmp_path)
    assert files.load("r1") is None
    files.save("r1", b"old")
    files.save("r1", b"new")
    assert EvidenceFiles(tmp_path).load("r1") == b"new"
    (path,) = (tmp_path / FOLDER).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    files.delete("r1")
    files.delete("r1")
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_file_that_was_half_written_is_not_read(tmp_path: Path) -> None:
    """What a killed daemon left beside the file does not take its place, and goes at the next start if its rollout has."""
    files = EvidenceFiles(tmp_path)
    files.keep_only(())
    for rollout in ("r1", "r2"):
        files.save(rollout, b"whole")
        (tmp_path / FOLDER / f"{rollout}.new").write_bytes(b"ha")
    assert files.load("r1") == b"whole"
    files.keep_only({"r1"})
    assert files.load("r1") == b"whole"
    assert files.load("r2") is None
    assert not (tmp_path / FOLDER / "r2.new").exists()


def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    """An id that is not the daemon's own is refused."""
    for name in ("../r1", "a/b", "", "."):
        with pytest.raises(OSError, match="no id"):
            EvidenceFiles(tmp_path).save(name, b"x")


def test_what_cannot_be_removed_keeps_no_daemon_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that may only be read, evidence of rollouts that are over is left to the next start."""
    files = EvidenceFiles(tmp_path)
    files.save("r1", b"whole")

    def refuse(_path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        files.keep_only(())
    assert files.load("r1") == b"whole"
    files.keep_only(())
    assert files.load("r1") is None
