"""Files of an order: read as they were compared, refused where they are others, whatever happens to their names meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.facts import Dtype, ModelFacts
from echoplaned.core.ids import InstanceKey
from echoplaned.planning.inspection import inspect_checkpoint
from echoplaned.worker.options import LoadOptions
from echoplaned.worker_contract.content import open_content
from echoplaned.worker_contract.inference.errors import LoadError, LoadSourceChangedError

WEIGHTS = "model.safetensors"


@pytest.fixture
def source(minilm: Path, tmp_path: Path) -> Path:
    """A checkpoint of the test's own beneath a root of the test's own."""
    out = tmp_path / "root" / "model"
    shutil.copytree(minilm, out)
    return out


def ordered(source: Path) -> tuple[LoadOptions, ModelFacts]:
    """Inspect a checkpoint and order it."""
    facts = inspect_checkpoint(source, allowed_root=source.parent).facts
    options = LoadOptions(
        InstanceKey.parse("m/v#0"),
        1,
        source,
        facts.task,
        Dtype.FP32,
        128,
        8,
        digest=facts.digest,
        content=facts.content,
    )
    return options, facts


def flip(path: Path) -> None:
    """Write another last byte in place."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def test_the_files_are_those_that_were_ordered(source: Path, tmp_path: Path) -> None:
    """A loader finds each file by its name, in a private directory that goes with the load."""
    options, facts = ordered(source)
    links = tmp_path / "w1.source"
    with open_content(options, links) as content:
        assert facts.content is not None
        assert content.files == facts.content.files
        assert content.directory == links
        assert links.stat().st_mode & 0o777 == 0o700
        assert (links / "config.json").read_bytes() == (source / "config.json").read_bytes()
        assert (links / "1_Pooling" / "config.json").is_file()
        content.check_unchanged()
    assert not links.exists()


def replace_in_place(source: Path) -> None:
    """Copy other content over the file, as ``cp new old`` does: same name, same inode."""
    flip(source / WEIGHTS)


def rename_over(source: Path) -> None:
    """Put another file in its place."""
    other = source / "other"
    shutil.copy(source / WEIGHTS, other)
    flip(other)
    other.rename(source / WEIGHTS)


def cut_short(source: Path) -> None:
    """Cut it."""
    os.truncate(source / WEIGHTS, 1000)


def link_out(source: Path) -> None:
    """Exchange it for a link that leads out of the root, to the very same content."""
    outside = source.parents[1] / "outside"
    (source / WEIGHTS).rename(outside)
    (source / WEIGHTS).symlink_to(outside)


def link_directory_out(source: Path) -> None:
    """Exchange the whole directory for a link that leads out of the root."""
    outside = source.parents[1] / "elsewhere"
    source.rename(outside)
    source.symlink_to(outside)


def exchange_for_pipe(source: Path) -> None:
    """Exchange it for a pipe, which would keep a reader waiting."""
    (source / WEIGHTS).unlink()
    os.mkfifo(source / WEIGHTS)


def remove(source: Path) -> None:
    """Remove it."""
    (source / WEIGHTS).unlink()


CHANGES = [replace_in_place, rename_over, cut_short, link_out, link_directory_out, exchange_for_pipe, remove]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_other_content_is_refused(source: Path, change: Callable[[Path], None]) -> None:
    """Whatever came in the place of a file is not loaded, and the refusal names the file."""
    options, _ = ordered(source)
    change(source)
    with pytest.raises(LoadSourceChangedError) as caught, open_content(options):
        pytest.fail("it was opened")
    assert "load what is there now as another version" in str(caught.value)
    assert change is link_directory_out or WEIGHTS in str(caught.value)


def test_the_same_content_in_other_files_is_no_change(source: Path) -> None:
    """A checkpoint that was copied, or whose owner changed, is another file with the same content: the digest decides."""
    options, _ = ordered(source)
    copy = source / "copy"
    shutil.copy(source / WEIGHTS, copy)
    copy.rename(source / WEIGHTS)
    (source / "config.json").chmod(0o640)
    with open_content(options) as content:
        content.check_unchanged()


def test_a_file_that_is_written_while_it_is_read(source: Path) -> None:
    """Nobody knows what was read then, so nothing of it is served."""
    options, _ = ordered(source)
    with open_content(options) as content:
        flip(source / WEIGHTS)
        with pytest.raises(LoadSourceChangedError, match="written while it was read"):
            content.check_unchanged()


def test_names_that_change_while_it_is_read(source: Path) -> None:
    """The links lead to what was opened, not to what has the name by now."""
    options, _ = ordered(source)
    before = (source / "config.json").read_bytes()
    with open_content(options) as content:
        (source / "other").write_text("{}")
        (source / "other").rename(source / "config.json")
        assert (content.directory / "config.json").read_bytes() == before


def test_an_order_of_an_earlier_release(source: Path) -> None:
    """Only the digest is known: it is compared."""
    options, _ = ordered(source)
    earlier = replace(options, content=None)
    with open_content(earlier) as content:
        assert WEIGHTS in [file.name for file in content.files]
    flip(source / WEIGHTS)
    with pytest.raises(LoadSourceChangedError, match="its digest is"), open_content(earlier):
        pytest.fail("it was opened")


def test_without_an_order_there_is_nothing_to_compare(source: Path, tmp_path: Path) -> None:
    """A directory that nobody inspected is read as it is; one that is not there has no files."""
    options, _ = ordered(source)
    loose = replace(options, content=None, digest="")
    flip(source / WEIGHTS)
    with open_content(loose) as content:
        assert {file.name for file in content.files} >= {WEIGHTS, "1_Pooling/config.json"}
    with open_content(replace(loose, source_path=tmp_path / "nowhere")) as content:
        assert content.files == ()


def test_what_may_not_be_read_is_not_said_to_have_changed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A permission that is missing is no other content."""
    options, _ = ordered(source)

    def refuse(root: str, path: str) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("echoplaned.worker_contract.content._allocator.open_beneath", refuse)
    with pytest.raises(LoadError, match="Permission denied") as caught, open_content(options):
        pytest.fail("it was opened")
    assert not isinstance(caught.value, LoadSourceChangedError)
