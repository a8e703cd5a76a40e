"""Totals of tokens over a restart, and what becomes of a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.tokens import SavedTokens
from echoplaned.store.token_file import TokenFile

SAVED = SavedTokens(
    {VersionKey("m", "v1"): TokenCounts(1, 2), VersionKey("m", "v2"): TokenCounts(0, 3)}, {"w-1": TokenCounts(1, 1)}
)


def test_there_and_back(tmp_path: Path) -> None:
    """What was saved is read again; without a file there is nothing, which is no empty one; the file is this user's."""
    assert TokenFile(tmp_path).load() is None
    TokenFile(tmp_path).save(SAVED)
    assert TokenFile(tmp_path).load() == SAVED
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    TokenFile(tmp_path).save(SavedTokens())
    assert TokenFile(tmp_path).load() == SavedTokens()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"totals": []}',
        b'{"totals": 7, "seen": []}',
        b'{"totals": [["m", "v", 1]], "seen": []}',
        b'{"totals": [["m", "v", 1, 1e400]], "seen": []}',
        b'{"totals": [], "seen": [["w", 1, 2, 3]]}',
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    """It is put aside, and counting begins now."""
    (tmp_path / "tokens.json").write_bytes(content)
    assert TokenFile(tmp_path).load() is None
    assert (tmp_path / "tokens.bad").read_bytes() == content


def test_numbers_are_clamped(tmp_path: Path) -> None:
    """A number that no count is becomes the nearest one."""
    (tmp_path / "tokens.json").write_text('{"totals": [["m", "v", -5, 1e300]], "seen": []}')
    found = TokenFile(tmp_path).load()
    assert found is not None
    assert found.totals == {VersionKey("m", "v"): TokenCounts(0, 10**15)}
