"""The event algebra beside the gates: matched events, epochs, alarms with their trace."""

from __future__ import annotations

from echoplaned.dtesn import Event, HealthAlgebra
from echoplaned.gates.echo import health
from echoplaned.gates.echo.health import EPOCH_PAIRS, MAX_MATCHED, Z_ALARM, Health, HealthEvidence
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.ports.request_counts import Interval, RequestCounts


def test_events_of_probes() -> None:
    """A pair tells an error of one side, or which side was slow, or nothing."""
    assert health.of_probes(PairOutcome(new_ok=False, old_ok=True)) == (Event.NEW_ERROR,)
    assert health.of_probes(PairOutcome(new_ok=True, old_ok=False)) == (Event.OLD_ERROR,)
    assert health.of_probes(PairOutcome(new_ok=False, old_ok=False)) == ()
    assert health.of_probes(PairOutcome(True, True, "", 0.3, 0.1)) == (Event.NEW_SLOW,)
    assert health.of_probes(PairOutcome(True, True, "", 0.1, 0.3)) == (Event.OLD_SLOW,)
    assert health.of_probes(PairOutcome(True, True, "", 0.03, 0.01)) == ()


def test_events_of_live_pairs() -> None:
    """The side that is clearly farther from what was usual has the event."""
    assert health.of_distances(3.0, 1.0) == (Event.NEW_DRIFT,)
    assert health.of_distances(1.0, 3.0) == (Event.OLD_DRIFT,)
    assert health.of_distances(1.5, 1.0) == ()


def test_an_epoch_of_one_sided_events_alarms() -> None:
    """The alarms of a full epoch are those of the shipped algebra, and the line tells events and rules."""
    evidence = HealthEvidence()
    for _ in range(EPOCH_PAIRS):
        evidence = health.add_pair(evidence, (Event.NEW_ERROR,))
    assert (evidence.epochs, evidence.pairs) == (1, 0)
    assert evidence.alarms == EPOCH_PAIRS // HealthAlgebra.threshold(Z_ALARM, EPOCH_PAIRS)
    assert f"epoch 1 (64 pairs: 64 new_error): alarms error {evidence.alarms}" in evidence.lines[0]
    assert "alarm_error" in evidence.lines[0]


def test_events_of_both_sides_cancel() -> None:
    """As many events of the old version leave nothing to alarm about."""
    evidence = HealthEvidence()
    for number in range(EPOCH_PAIRS):
        evidence = health.add_pair(evidence, (Event.NEW_DRIFT if number % 2 else Event.OLD_DRIFT,))
    assert (evidence.epochs, evidence.alarms, evidence.lines) == (1, 0, ())


def test_a_window_ends_the_epoch() -> None:
    """A change of weights ends an epoch that is not full; without a pair there is none to end."""
    assert health.close(HealthEvidence()) == HealthEvidence()
    assert health.close(health.add_pair(HealthEvidence(), ())).epochs == 1


def live(new: tuple[int, int], old: tuple[int, int]) -> Interval:
    """Return an interval: good requests and server errors of each version."""
    return Interval(RequestCounts(ok=new[0], server_errors=new[1]), RequestCounts(ok=old[0], server_errors=old[1]))


def test_live_errors_are_matched_by_exposure() -> None:
    """A version with a twentieth of the traffic and the same rate of errors has as many events as the other, over time."""
    told = Health()
    for _ in range(40):
        told = health.observe(told, (), live((9, 1), (171, 19)), ())
    assert (told.errors.epochs, told.errors.pairs, told.errors.alarms) == (6, 16, 0)
    told = Health()
    for _ in range(3):
        told = health.observe(told, (), live((9, 1), (171, 19)), ())
    new, old = (told.errors.counts[list(Event).index(one)] for one in (Event.NEW_ERROR, Event.OLD_ERROR))
    assert abs(new - old) <= 1
    assert new == 3


def test_live_errors_of_the_new_version_alone_alarm() -> None:
    """Errors on one side leave what an epoch of them leaves, with the gate's name; requests without a partner count for nobody."""
    told = Health()
    for _ in range(8):
        told = health.observe(told, (), live((0, 8), (100, 0)), ())
    assert told.errors.epochs == 1
    assert told.errors.alarms == EPOCH_PAIRS // HealthAlgebra.threshold(Z_ALARM, EPOCH_PAIRS)
    assert told.lines[0].startswith("errors epoch 1 (64 pairs: 64 new_error): alarms error")
    assert health.observe(Health(), (), live((0, 5), (0, 0)), ()) == Health()
    busy = health.observe(Health(), (), live((9_000, 0), (9_000, 0)), ())
    assert busy.errors.epochs * EPOCH_PAIRS == MAX_MATCHED


def test_each_gate_has_epochs_of_its_own() -> None:
    """Drift does not hide behind many requests without an error; a change of weights ends all epochs."""
    told = Health()
    for _ in range(EPOCH_PAIRS):
        told = health.observe(told, (PairOutcome(new_ok=True, old_ok=True),), live((20, 0), (20, 0)), ((3.0, 1.0),))
    assert told.drift.alarms == EPOCH_PAIRS // HealthAlgebra.threshold(Z_ALARM, EPOCH_PAIRS)
    assert (told.probes.epochs, told.errors.epochs, told.errors.alarms) == (1, 20, 0)
    told = health.end_epochs(health.observe(told, (), live((5, 0), (5, 0)), ()))
    assert (told.errors.epochs, told.errors.pairs) == (21, 0)
