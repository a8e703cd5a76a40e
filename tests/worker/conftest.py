"""Makes the shared modules of the tests importable, and their fixtures known."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from models import checkpoints, minilm  # noqa: E402 - needs the path above

__all__ = ["checkpoints", "minilm"]
