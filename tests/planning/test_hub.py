"""Directories as a hub's cache lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.core.errors import SourceIncompleteError, SourceNotAllowedError
from echoplaned.planning import survey_model
from echoplaned.planning.adapter import Allocator
from echoplaned.planning.hub import resolve_hub
from echoplaned.ports.stop import Stop
from tests.planning.conftest import Draft

REVISION = "0123456789abcdef0123456789abcdef01234567"


def cached(root: Path, draft: Draft) -> Path:
    """Write a checkpoint as a hub's cache does: blobs, and links to them beneath a revision."""
    directory = root / "models--org--small"
    written = draft.write(directory / "blobs")
    snapshot = directory / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for blob in written.iterdir():
        (snapshot / blob.name).symlink_to(Path("..", "..", "blobs", blob.name))
    (directory / "refs").mkdir()
    (directory / "refs" / "main").write_text(REVISION)
    return directory


def test_the_revision_of_main_is_read(tmp_path: Path, draft: Draft) -> None:
    """The hub's directory stands for the revision that refs/main names, in a plan and in a load."""
    directory = cached(tmp_path, draft)
    assert resolve_hub(directory) == directory / "snapshots" / REVISION
    whole, one = survey_model(directory), survey_model(directory / "snapshots" / REVISION)
    assert whole.facts == one.facts
    allocator = Allocator((tmp_path,))
    found = allocator.inspect(f"file:{directory.name}")
    assert found.path == str((directory / "snapshots" / REVISION).resolve())
    assert allocator.digest(found, Stop()).digest.startswith("blake3:")
    with pytest.raises(SourceNotAllowedError):
        Allocator((directory / "snapshots" / REVISION,)).inspect(str(directory / "snapshots" / REVISION))


@pytest.mark.parametrize("ref", [None, "", "other", "../../..", "a" * 500])
def test_a_directory_without_a_revision_says_what_there_is(tmp_path: Path, draft: Draft, ref: str | None) -> None:
    """What refs/main does not name cannot be guessed; the message lists the revisions."""
    directory = cached(tmp_path, draft)
    main = directory / "refs" / "main"
    main.unlink()
    if ref is not None:
        main.write_text(ref)
    with pytest.raises(SourceIncompleteError, match=f"snapshots/{REVISION}"):
        survey_model(directory)
