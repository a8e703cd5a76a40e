"""What callers made up, as it may stand in an error or in a log."""

from __future__ import annotations

import json
import re
from typing import Final

MAX_SHOWN_CHARS: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z_][\w.]{0,63}", re.ASCII)


def shown(name: str) -> str:
    """Return a caller's name as it is if it looks like a field's, else quoted.

    A quoted name is cut, and nothing of it can look like another line.
    """
    return name if _PLAIN.fullmatch(name) else json.dumps(name[:MAX_SHOWN_CHARS])
