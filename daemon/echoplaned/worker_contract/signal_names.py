"""Names of signals as people know them."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """Return a signal's name, or its number: most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
