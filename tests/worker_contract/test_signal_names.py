"""Every signal that may end a process has a name to be told by."""

from __future__ import annotations

import signal

import pytest

from echoplaned.engines.processes import ExitInfo
from echoplaned.worker_contract.signal_names import signal_name


@pytest.mark.parametrize("number", range(1, signal.NSIG))
def test_every_signal_is_told(number: int) -> None:
    """By its name, or by its number, and so is the end of a process."""
    named = signal_name(number)
    assert named.startswith("SIG") or named == f"signal {number}"
    assert str(ExitInfo(-number)) == f"its process was killed by {named}"


def test_names() -> None:
    """As people know them."""
    assert (signal_name(9), signal_name(40)) == ("SIGKILL", "signal 40")
