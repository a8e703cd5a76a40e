"""What is too large is an error and not the process's end; what takes long stops nobody else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from echoplaned.dtesn import Configuration, System, errors
from echoplaned.dtesn.discrepancy import mmd
from echoplaned.dtesn.readout import Ridge
from echoplaned.dtesn.reservoir import Streams, TreeReservoir

ENDLESS = """
@model<transition_psystem>
def main()
{
    @mu = []'1;
    @ms(1) = a;
    [a --> b]'1;
    [b --> a]'1;
}
"""
# Takes what is asked for while the address space is bounded: whatever cannot be had must be an error.
BOUNDED = """
import resource
import numpy as np
from echoplaned.dtesn import errors
from echoplaned.dtesn.readout import RecursiveLeastSquares, Ridge
from echoplaned.dtesn.reservoir import Streams, TreeReservoir
reservoir = TreeReservoir([1, 2, 2], 2)
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 64 * 2**20,) * 2)
for ask in (
    lambda: Streams(reservoir, 2**20),
    lambda: RecursiveLeastSquares(8000, 1),
    lambda: Ridge.fit(np.zeros((2, 8000), np.float32), np.zeros(2, np.float32), 1.0),
):
    try:
        ask()
    except errors.SizeExceededError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: Ridge.fit(np.zeros((2, 40_000), np.float32), np.zeros(2, np.float32), 1.0), "12800000000 bytes"),
        (lambda: Ridge.fit(np.zeros((2, 40_000), np.float32), np.zeros(2, np.float32)), "at most 2 GiB"),
        (lambda: Streams(TreeReservoir([1, *[2] * 15], 2), 2**24), "16777216 streams"),
    ],
    ids=["ridge", "ridge by cross-validation", "streams"],
)
def test_arrays_over_their_limit(ask: Callable[[], object], says: str) -> None:
    """The error says how much it would be; no memory was asked for."""
    with pytest.raises(errors.SizeExceededError, match=says):
        ask()


def test_memory_that_is_not_there() -> None:
    """Where the system refuses it, the caller gets an error and the process goes on."""
    done = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("there is not so much memory") == 3, done.stdout


@pytest.mark.parametrize("scale", [1e141, 1e160, 1e307])
def test_distances_over_the_range_are_an_error(scale: float) -> None:
    """A squared distance that overflows made NaN of the statistic, and the least p-value of that."""
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 8, 3))
    with pytest.raises(errors.ValueOverflowError, match="apart"):
        mmd(first * scale, second * scale)


def test_large_values_are_compared_as_small_ones() -> None:
    """Up to the limit the answer depends on the shape alone."""
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 8, 3)) * 0.01
    small, large = mmd(first, second), mmd(first * 1e139, second * 1e139)
    assert (large.statistic, large.p_value) == pytest.approx((small.statistic, small.p_value))


def test_a_look_at_what_runs_stops_nobody_else() -> None:
    """A thread that asks a system whether it has halted waits for its run to end, and waits alone."""
    configuration = Configuration(System.parse(ENDLESS))
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(errors.NotHaltedError):
            configuration.run(1_000_000)
        ended.set()

    running = threading.Thread(target=run)
    running.start()
    looking = threading.Thread(target=lambda: configuration.halted)
    looking.start()
    longest_s, last_s = 0.0, time.monotonic()
    while not ended.wait(0.001):
        now_s = time.monotonic()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    running.join()
    looking.join()
    assert longest_s < 0.5
