"""What the gateway's callers used, kept over a restart in one file."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from echoplaned.core.numbers import MAX_COUNT, clamp_count, clamp_real
from echoplaned.ports.usage import UsageKey, UsageReport, UsageTotals
from echoplaned.store.json_file import JsonFile

NAME: Final = "usage.json"
_KEY_FIELDS: Final = 3


class UsageFile:
    """The totals of a state directory.

    Args:
        state_dir: the daemon's own directory.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = JsonFile(state_dir / NAME)

    def load(self, now_s: float) -> UsageReport:
        """Return what was kept; where there is nothing, counting begins now.

        A file that cannot be read is put aside.
        """
        return self._file.load(_parse) or UsageReport(now_s)

    def save(self, report: UsageReport) -> None:
        """Write it.

        Raises:
            OSError: it was not written; what was there before is there still.
        """
        rows = [[*astuple(key), *astuple(usage)] for key, usage in report.usages.items()]
        self._file.save({"start_s": report.start_s, "rows": rows})


def _parse(content: Any) -> UsageReport:  # noqa: ANN401 - what JSON holds
    usages = {}
    for row in content["rows"]:
        key = UsageKey(*(str(each) for each in row[:_KEY_FIELDS]))
        *counts, duration_s = row[_KEY_FIELDS:]
        numbers: Any = (*(clamp_count(int(each)) for each in counts), clamp_real(float(duration_s), 0.0, MAX_COUNT))
        usages[key] = UsageTotals(*numbers)
    return UsageReport(float(content["start_s"]), usages)
