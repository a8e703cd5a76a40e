"""What the engines counted of tokens, kept over a restart in one file.

Totals and what each engine had counted by then are in one file, which is renamed into place: they are of one moment, so that the next
daemon adds what came since, and nothing twice.
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from echoplaned.core.ids import VersionKey
from echoplaned.core.numbers import clamp_count
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.tokens import SavedTokens
from echoplaned.store.json_file import JsonFile

NAME: Final = "tokens.json"


class TokenFile:
    """The totals of a state directory.

    Args:
        state_dir: the daemon's own directory.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = JsonFile(state_dir / NAME)

    def load(self) -> SavedTokens | None:
        """Return what was kept; None where there is nothing.

        A file that cannot be read is put aside.
        """
        return self._file.load(_parse)

    def save(self, tokens: SavedTokens) -> None:
        """Write it.

        Raises:
            OSError: it was not written; what was there before is there still.
        """
        totals = [[key.model, key.version, *astuple(each)] for key, each in tokens.totals.items()]
        seen = [[leader_id, *astuple(each)] for leader_id, each in tokens.seen.items()]
        self._file.save({"totals": totals, "seen": seen})


def _parse(content: Any) -> SavedTokens:  # noqa: ANN401 - what JSON holds
    totals = {VersionKey(str(model), str(name)): _counts(*rest) for model, name, *rest in content["totals"]}
    return SavedTokens(totals, {str(leader_id): _counts(*rest) for leader_id, *rest in content["seen"]})


def _counts(prompt: int, generated: int) -> TokenCounts:
    return TokenCounts(clamp_count(int(prompt)), clamp_count(int(generated)))
