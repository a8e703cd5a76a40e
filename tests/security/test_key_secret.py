"""The secret's file: made whole and private, and refused where it is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from echoplaned.core.errors import KeySecretUnusableError
from echoplaned.security.key_secret import MIN_BYTES, KeySecretFile


def test_it_is_made_once_and_private(tmp_path: Path) -> None:
    """Of many that make it at once one is first, and all read that one; nothing else is left beside it."""
    path = tmp_path / "key-secret"
    assert KeySecretFile(path).read() is None
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: KeySecretFile(path).read_or_create(), range(32)))
    assert len(found) == 1
    assert len(found.pop()) == 2 * MIN_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key-secret"]


def test_others_must_not_read_it(tmp_path: Path) -> None:
    """A file that its group or everybody may read is refused, and the text says how to mend it."""
    path = tmp_path / "key-secret"
    KeySecretFile(path).read_or_create()
    for mode in (0o640, 0o604, 0o602):
        path.chmod(mode)
        with pytest.raises(KeySecretUnusableError, match=f"can be read by others: chmod 600 {path}"):
            KeySecretFile(path).read()


def test_what_is_no_secret_is_refused(tmp_path: Path) -> None:
    """Too short, too long, a directory: each has its text, and nothing is written over it."""
    path = tmp_path / "key-secret"
    for content, text in (
        (b"", "has 0 bytes, and 32 are needed"),
        (b"x" * 31 + b"\n", "has 31 bytes"),
        (b"x" * 5000, "more than 4096"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeySecretUnusableError, match=text):
            KeySecretFile(path).read_or_create()
        assert path.read_bytes() == content
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(KeySecretUnusableError):
        KeySecretFile(path).read()
    with pytest.raises(KeySecretUnusableError, match="name a place that can be written"):
        KeySecretFile(tmp_path / "nowhere" / "key-secret").read_or_create()
