"""What the matrix library says of itself, in a process where nothing had it log before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from echoplaned.core.cpu_isa import VARIABLES, CpuIsa
from echoplaned.planning.devices import host_isa

pytest.importorskip("torch")
pytestmark = pytest.mark.system

_ASK = """
import os
from echoplaned.worker import cpu_isa
log = cpu_isa._make_it_log
def write():
    log()
    os.write(1, b"another thread's line\\n")
cpu_isa._make_it_log = write
print(cpu_isa.library_isa(), flush=True)
"""


@pytest.mark.parametrize("limit", ["AVX2", ""])
def test_the_library_is_asked_and_its_log_kept_from_the_output(limit: str) -> None:
    """The answer is what the daemon derives; the library's lines are swallowed, and what another thread wrote meanwhile is not."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if limit:
        environment[VARIABLES[0]] = limit
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["another thread's line", host_isa(environment).value]
    assert not limit or done.stdout.splitlines()[1] == CpuIsa.AVX2
