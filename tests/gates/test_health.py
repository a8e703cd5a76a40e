"""The event algebra beside the gates: matched events, epochs, alarms with their trace."""

from __future__ import annotations

from echoplaned.dtesn import Event, HealthAlgebra
from echoplaned.gates import health
from echoplaned.gates.health import EPOCH_PAIRS, Z_ALARM, HealthEvidence
from echoplaned.gates.probes import PairOutcome


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
        evidence = health.took(evidence, (Event.NEW_ERROR,))
    assert (evidence.epochs, evidence.pairs) == (1, 0)
    assert evidence.alarms == EPOCH_PAIRS // HealthAlgebra.threshold(Z_ALARM, EPOCH_PAIRS)
    assert f"epoch 1 (64 pairs: 64 new_error): alarms error {evidence.alarms}" in evidence.lines[0]
    assert "alarm_error" in evidence.lines[0]


def test_events_of_both_sides_cancel() -> None:
    """As many events of the old version leave nothing to alarm about."""
    evidence = HealthEvidence()
    for number in range(EPOCH_PAIRS):
        evidence = health.took(evidence, (Event.NEW_DRIFT if number % 2 else Event.OLD_DRIFT,))
    assert (evidence.epochs, evidence.alarms, evidence.lines) == (1, 0, ())


def test_a_window_ends_the_epoch() -> None:
    """A change of weights ends an epoch that is not full; without a pair there is none to end."""
    assert health.closed(HealthEvidence()) == HealthEvidence()
    assert health.closed(health.took(HealthEvidence(), ())).epochs == 1
