"""Totals of usage over a restart, and what becomes of a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.ports.usage import UsageKey, UsageReport, UsageTotals
from echoplaned.store.usage_file import UsageFile

REPORT = UsageReport(
    5.0, {UsageKey("a", "m", "v1"): UsageTotals(1, 2, 3, 4, 5, 6, 7.5), UsageKey(): UsageTotals(client_errors=1)}
)


def test_there_and_back(tmp_path: Path) -> None:
    """What was saved is read again; without a file counting begins now; the file is this user's."""
    file = UsageFile(tmp_path)
    assert file.load(9.0) == UsageReport(9.0)
    file.save(REPORT)
    assert UsageFile(tmp_path).load(9.0) == REPORT
    assert [path.name for path in tmp_path.iterdir()] == ["usage.json"]
    assert (tmp_path / "usage.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"start_s": 1, "rows": [[1]]}',
        b'{"rows": []}',
        b'{"start_s": 1, "rows": 7}',
        b"[" * 99999,
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    """It is put aside, and counting begins now: usage never keeps a daemon from starting."""
    (tmp_path / "usage.json").write_bytes(content)
    assert UsageFile(tmp_path).load(9.0) == UsageReport(9.0)
    assert (tmp_path / "usage.bad").read_bytes() == content
    UsageFile(tmp_path).save(REPORT)
    assert UsageFile(tmp_path).load(9.0) == REPORT


def test_numbers_are_clamped(tmp_path: Path) -> None:
    """A number that no count is becomes the nearest one."""
    (tmp_path / "usage.json").write_text('{"start_s": 1, "rows": [["a", "m", "v", -5, 1e300, 0, 0, 0, 0, NaN]]}')
    (usage,) = UsageFile(tmp_path).load(9.0).usages.values()
    assert usage == UsageTotals(client_errors=10**15)
