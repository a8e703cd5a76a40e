"""Sources: beneath an allowed root, whatever a caller writes and whatever lies there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from echoplaned.core.errors import (
    DaemonError,
    FieldInvalidError,
    SourceCorruptError,
    SourceNotAllowedError,
    SourceNotFoundError,
)
from echoplaned.core.failure import Reason
from echoplaned.planning import sources
from echoplaned.planning.sources import resolve_source


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with two roots, ``one`` and ``two``, and a ``secret`` beside them."""
    base = tmp_path_factory.mktemp("sources").resolve()
    for name in ("one/model", "one/models--org/snapshots/a1", "one/blobs", "one/Größe 2", "two/other", "secret/model"):
        (base / name).mkdir(parents=True)
    (base / "one/model/config.json").write_text("{}")
    (base / "one/blobs/b1").write_text("{}")
    (base / "one/models--org/snapshots/a1/config.json").symlink_to("../../../blobs/b1")
    (base / "secret/model/config.json").write_text("{}")
    (base / "one/file").touch()
    (base / "one/alias").symlink_to("model")
    (base / "one/out").symlink_to(base / "secret/model")
    (base / "one/nowhere").symlink_to(base / "secret/gone")
    (base / "one/circle").symlink_to("circle")
    for name, target in (
        ("leak", base / "secret/model/config.json"),
        ("dangling", base / "secret/gone"),
        ("deep", base / "secret"),
    ):
        (base / "one" / name / "sub").mkdir(parents=True)
        (base / "one" / name / "sub" / "weights").symlink_to(target)
    (base / "one/loop").mkdir()
    (base / "one/loop/self").symlink_to(".")
    (base / "one/pipe").mkdir()
    os.mkfifo(base / "one/pipe/model.safetensors")
    return base


def roots(tree: Path) -> tuple[Path, ...]:
    """Return the two allowed roots."""
    return (tree / "one", tree / "two")


def failure(uri: str, allowed: Sequence[Path]) -> DaemonError:
    """Resolve what must not resolve, and return why."""
    with pytest.raises((FieldInvalidError, SourceNotAllowedError, SourceNotFoundError, SourceCorruptError)) as caught:
        resolve_source(uri, allowed)
    return caught.value


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("file:model", "one/model"),
        ("FILE:model", "one/model"),
        ("file:model/.", "one/model"),
        ("file:other", "two/other"),
        ("file:alias", "one/model"),
        ("file:Größe 2", "one/Größe 2"),
        ("file:models--org/snapshots/a1", "one/models--org/snapshots/a1"),
        ("file:loop", "one/loop"),
        ("file://{base}/one/model", "one/model"),
        ("file:{base}/two/other/", "two/other"),
        ("{base}/one/model", "one/model"),
        ("/{base}//one//model", "one/model"),
    ],
)
def test_sources_beneath_a_root_are_found(tree: Path, uri: str, found: str) -> None:
    """File URIs, relative ones by the first root that has them, plain absolute paths, and links that stay within the roots."""
    assert resolve_source(uri.format(base=tree), roots(tree)) == tree / found


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "model",
        "file:",
        "file://model",
        "file://host/model",
        "file:mo\0del",
        "file:model\n",
        "\nfile:model",
        "file:m%2e%2e",
        "file:%2e%2e/secret",
        "file:a\\b",
        "file:$HOME",
        "file:a*",
        "file:\ud800",
        "file:" + "a" * 5000,
    ],
)
def test_texts_that_are_no_source(tree: Path, uri: str) -> None:
    """Characters, lengths and forms that no source has are the field's fault, before any look at the disk."""
    found = failure(uri, roots(tree))
    assert found.failure.reason is Reason.FIELD_INVALID
    assert [violation.field for violation in found.failure.violations] == ["source_uri"]


@pytest.mark.parametrize(
    "uri",
    [
        "file:../secret/model",
        "file:model/../../secret/model",
        "file:model/..",
        "{base}/one/../secret/model",
        "{base}/secret/model",
        "{base}/secret/gone",
        "{base}",
        "{base}/one-and-more",
        "/etc",
        "/",
        "file:///etc/passwd",
        "file:out",
        "file:nowhere",
        "file:leak",
        "file:dangling",
        "file:deep",
        "http://127.0.0.1/model",
        "s3://bucket/model",
        "hf:org/model",
    ],
)
def test_sources_outside_the_roots_are_refused(tree: Path, uri: str) -> None:
    """No scheme but file, no ``..``, no path and no link that leads out, in the name or in the checkpoint."""
    assert failure(uri.format(base=tree), roots(tree)).failure.reason is Reason.SOURCE_NOT_ALLOWED


def test_errors_do_not_tell_what_lies_outside(tree: Path) -> None:
    """What exists outside and what does not are refused alike, and no error names a place that the caller did not."""
    there, gone = (failure(f"{tree}/secret/{name}", roots(tree)) for name in ("model", "gone"))
    assert str(there).replace("model", "") == str(gone).replace("gone", "")
    for name in ("out", "nowhere", "leak", "deep", "circle", "absent", "../x"):
        message = repr(failure(f"file:{name}", roots(tree)).failure)
        assert str(tree) not in message
        assert "secret" not in message


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:absent", "'absent' does not exist"),
        ("file:circle", "'circle' does not exist"),
        ("file:file", "'file' is not a directory"),
        ("file:file/model", "'file/model' does not exist"),
        ("file:" + "a" * 300, "does not exist"),
        ("file:pipe", "'model.safetensors' in 'pipe' is neither a file nor a directory"),
    ],
)
def test_sources_that_are_not_there_or_no_checkpoint(tree: Path, uri: str, message: str) -> None:
    """Beneath the roots the caller is told what is wrong with the directory."""
    found = failure(uri, roots(tree))
    gone = message.endswith("does not exist")
    assert found.failure.reason is (Reason.SOURCE_NOT_FOUND if gone else Reason.SOURCE_CORRUPT)
    assert message in str(found)


def test_without_roots_nothing_may_be_loaded(tree: Path) -> None:
    """An empty list allows nothing, and the error says which flag to use."""
    found = failure(f"{tree}/one/model", ())
    assert found.failure.reason is Reason.SOURCE_NOT_ALLOWED
    assert "--model-root" in str(found)


def test_a_root_itself_is_a_source(tree: Path) -> None:
    """A root may be the checkpoint."""
    assert resolve_source("file:.", [tree / "two"]) == tree / "two"
    assert resolve_source(f"{tree}/two", [tree / "two"]) == tree / "two"


@pytest.fixture
def plain_user_dir() -> Iterator[Path]:
    """Return a directory of a user for whom file modes count, and be that user meanwhile (root would read everything)."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_directory_without_rights_is_named(plain_user_dir: Path, mode: int) -> None:
    """A checkpoint that cannot be listed or entered is the source's fault, not an internal error."""
    closed = plain_user_dir / "closed"
    closed.mkdir()
    (closed / "config.json").touch()
    closed.chmod(mode)
    try:
        found = failure("file:closed", [plain_user_dir])
    finally:
        closed.chmod(0o700)
    assert "'closed' cannot be read: Permission denied" in str(found)


def test_a_heap_of_files_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at a directory ends, however much is in it."""
    monkeypatch.setattr(sources, "MAX_ENTRIES", 50)
    for number in range(51):
        (tmp_path / f"f{number}").touch()
    assert "holds more than" in str(failure("file:.", [tmp_path]))


PIECES = st.sampled_from(
    [
        *(
            "..",
            ".",
            "/",
            "//",
            "one",
            "two",
            "model",
            "out",
            "leak",
            "deep",
            "sub",
            "weights",
            "secret",
            "file",
            "circle",
            "loop",
            "self",
        ),
        *(
            "file:",
            "file://",
            "FILE:///",
            "\0",
            "\n",
            "\u2024\u2024",
            "\uff0e\uff0e",
            "%2e%2e",
            "~",
            "\\",
            "a" * 260,
            "\u202e",
        ),
        *("\ud800", "\x7f", " ", "C:"),
    ]
)
HOSTILE = st.one_of(st.lists(PIECES, max_size=9).map("".join), st.lists(PIECES, max_size=7).map("/".join), st.text())


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HOSTILE, st.booleans())
@example("file:one/../../secret", True)
def test_hostile_names_never_leave_the_roots(tree: Path, text: str, absolute: bool) -> None:
    """Whatever is written: either a directory beneath a root comes out, free of links, or one of three errors."""
    uri = f"file://{tree}/{text}" if absolute else text
    try:
        found = resolve_source(uri, roots(tree))
    except (FieldInvalidError, SourceNotAllowedError, SourceNotFoundError, SourceCorruptError):
        return
    assert found.is_dir()
    assert found.resolve() == found
    assert any(found.is_relative_to(root) for root in roots(tree))
