"""How often an engine's memory is read, by what a reading costs."""

from __future__ import annotations

import pytest

from echoplaned.supervisor.watching import pause_s


@pytest.mark.parametrize(
    ("took_s", "serving", "expected_s"),
    [
        (0.001, False, 0.5),
        (0.001, True, 5.0),
        (0.08, False, 4.0),
        (0.08, True, 5.0),
        (0.4, True, 20.0),
        (9.0, False, 60.0),
    ],
)
def test_readings_take_a_fiftieth_of_a_core(took_s: float, serving: bool, expected_s: float) -> None:
    """A small engine is read often while it starts; one of many gigabytes as often as that allows, once a minute at least."""
    assert pause_s(took_s, serving=serving) == pytest.approx(expected_s)
