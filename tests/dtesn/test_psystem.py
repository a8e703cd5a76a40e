"""P systems and the health-event algebra from Python."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from echoplaned.dtesn import Configuration, Event, HealthAlgebra, System, errors

ROOT = Path(__file__).parents[2]
SQUARES = """
@model<transition_psystem>
def main()
{
    @mu = [[[]'3 []'4]'2]'1;
    @ms(3) = a, f;
    [a --> a, b]'3;
    [a --> b, @d]'3;
    [f --> f*2]'3;
    [b --> d]'2;
    [d --> d, (e, in 4)]'2;
    (1) [f*2 --> f]'2;
    (2) [f --> @d]'2;
}
"""


@pytest.mark.parametrize("seed", range(20))
def test_n_steps_give_n_squared_objects(seed: int) -> None:
    """Paun's system halts after 2n + 1 steps with n^2 objects in membrane 4, for whatever n it chooses."""
    configuration = Configuration(System.parse(SQUARES), seed=seed)
    n, rest = divmod(configuration.run(1000), 2)
    assert rest == 1
    assert configuration.membranes[-1].label == "4"
    assert configuration.membranes[-1].objects == {"e": n * n}


def test_the_result_is_read_from_the_output_membrane() -> None:
    """It is there once the system has halted, comes from the environment by default, and is None where the membrane dissolved."""
    system = System.parse(SQUARES.replace("@ms(3)", "@mout = 4;\n    @ms(3)"))
    assert system.output == "4"
    assert System.parse(str(system)).output == "4"
    configuration = Configuration(system, seed=5)
    assert not configuration.halted
    with pytest.raises(errors.NotHaltedError, match="no result yet"):
        configuration.result()
    n = configuration.run(1000) // 2
    assert configuration.halted
    assert configuration.result() == {"e": n * n}
    for text, expected in ((SQUARES, {}), (SQUARES.replace("@ms(3)", "@mout = 3; @ms(3)"), None)):
        other = Configuration(System.parse(text), seed=5)
        other.run(1000)
        assert other.result() == expected


def test_a_seed_is_a_run() -> None:
    """The same seed chooses the same rules; the first configuration has the membranes of the text."""
    first, second = (Configuration(System.parse(SQUARES), seed=3) for _ in range(2))
    assert [first.step() for _ in range(9)] == [second.step() for _ in range(9)]
    labels = [membrane.label for membrane in Configuration(System.parse(SQUARES)).membranes]
    assert labels == ["1", "2", "3", "4"]


def test_sat_by_division() -> None:
    """The program that decides SAT by dividing membranes answers Yes, for its formula is satisfiable."""
    text = (ROOT / "allocator_rs/dtesn/psystem/tests/data/sat.pli").read_text(encoding="utf-8")
    configuration = Configuration(System.parse(text))
    configuration.run(1000)
    assert "Yes" in configuration.environment
    assert "No" not in configuration.environment
    with pytest.raises(errors.NotHaltedError, match="after 5 steps"):
        Configuration(System.parse(text)).run(5)


def test_a_system_is_printed_as_it_is_read() -> None:
    """Reading what was printed prints the same."""
    system = System.parse(SQUARES)
    assert str(System.parse(str(system))) == str(system)
    assert system.rules[5] == "(1) [f*2 --> f]'2"
    assert set(system.objects) == {"a", "b", "d", "e", "f"}


@pytest.mark.parametrize(
    ("text", "error", "place"),
    [
        ("def main() {\n  @mu = []'1;\n  [a --> b]'7;\n}", errors.MembraneUndefinedError, (3, 13)),
        ("def main() { @mu = " + "[" * 100, errors.NestingTooDeepError, (1, 84)),
        ("def main() { @mu = []'1; [a -> b]'1; }", errors.SystemSyntaxError, (1, 29)),
        ("def main() { @mu = []'1; @mout = 2; }", errors.MembraneUndefinedError, (1, 34)),
    ],
)
def test_errors_have_a_place(text: str, error: type[Exception], place: tuple[int, int]) -> None:
    """Line and column are attributes of the error."""
    with pytest.raises(error) as caught:
        System.parse(text)
    found: Any = caught.value
    assert (found.line, found.column) == place


def test_runs_are_bounded() -> None:
    """A system that never halts, one that never stops dividing and one that overflows end in their errors."""
    configuration = Configuration(System.parse("def main() { @mu = []'1; @ms(1) = a; [a --> a]'1; }"))
    with pytest.raises(errors.NotHaltedError):
        configuration.run(10_000)
    dividing = System.parse("def main() { @mu = [[]'2]'1; @ms(2) = a; [a]'2 --> [a]'2 [a]'2; }")
    with pytest.raises(errors.SystemTooLargeError):
        Configuration(dividing).run(100)
    doubling = Configuration(System.parse("def main() { @mu = []'1; @ms(1) = a; [a --> a*2]'1; }"))
    with pytest.raises(errors.ValueOverflowError):
        doubling.run(100)
    assert doubling.membranes[0].objects == {"a": 2**63}
    with pytest.raises(errors.ObjectUnknownError):
        doubling.insert(0, "b")
    with pytest.raises(errors.SystemTooLargeError):
        System.parse("def main() { @mu = []'1; [a{i} --> b]'1 : 1 <= i <= 1000000; }")


def test_alarms_do_not_depend_on_the_order() -> None:
    """However events arrive within an epoch, the alarms are the surplus by the threshold."""
    health = HealthAlgebra(error=3, slow=2, drift=5, gates=2)
    draw = random.Random(1)
    events = [Event.NEW_ERROR] * 11 + [Event.OLD_ERROR] * 4 + [Event.NEW_SLOW] * 3 + [Event.OLD_SLOW] * 3
    for _ in range(200):
        draw.shuffle(events)
        for event in events:
            health.record(draw.choice(health.gates), event)
            if draw.random() < 0.4:
                health.advance()
        alarms = health.close()
        assert (alarms.error, alarms.slow, alarms.drift) == (2, 0, 0)
    assert any("new_error*3 --> (alarm_error, out)" in rule for step in alarms.trace for _, rule, _ in step)


def test_a_canary_is_a_division() -> None:
    """A canary's membrane comes by division and goes by dissolution, and neither while an epoch is open."""
    health = HealthAlgebra(error=3, slow=2, drift=5)
    (stable,) = health.versions
    canary = health.start_canary(stable)
    assert health.versions == (stable, canary)
    assert len(health.gates) == 2
    health.record(health.gates[1], Event.NEW_DRIFT)
    with pytest.raises(errors.EpochOpenError, match="1 events"):
        health.end_canary(canary)
    assert health.close().drift == 0
    health.end_canary(canary)
    assert health.versions == (stable,)
    with pytest.raises(errors.ObjectUnknownError):
        health.start_canary(canary)
    with pytest.raises(errors.SettingInvalidError):
        HealthAlgebra(error=0, slow=1, drift=1)
    assert HealthAlgebra.threshold(2.326, 100) == 25
    assert "[start]'version" in str(health.system)
