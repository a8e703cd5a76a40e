"""What a step of the model is expected to take, by its size."""

from __future__ import annotations

import pytest

from echoplaned.worker.step_times import StepTimes


class Clock:
    """Seconds in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def step(times: StepTimes, clock: Clock, tokens: int, seconds: float) -> None:
    """Make one step."""
    times.began(tokens)
    clock.now_s += seconds
    times.ended()


def test_a_larger_step_is_expected_to_take_longer() -> None:
    """In proportion to its tokens, by the largest step so far; a smaller one no less than that."""
    clock = Clock()
    times = StepTimes(clock)
    times.began(128)
    assert times.expected_s == 0.0, "nothing to go by"
    clock.now_s += 0.25
    times.ended()
    assert times.expected_s == 0.0, "none is under way"
    step(times, clock, 16, 0.01)
    times.began(128 * 100)
    assert times.expected_s == 25.0
    times.ended()
    times.began(8)
    assert times.expected_s == 0.0, "the largest took no time at all"


def test_a_largest_step_is_forgotten_after_ten_minutes() -> None:
    """A machine that was busy then is not now."""
    clock = Clock()
    times = StepTimes(clock)
    step(times, clock, 1000, 5.0)
    clock.now_s += 601
    step(times, clock, 10, 0.1)
    times.began(100)
    assert times.expected_s == pytest.approx(1.0)
