"""Evidence files of the release f78e306, which wrote them: this daemon goes on with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.facts import Task
from echoplaned.core.rollout_state import GateVerdict
from echoplaned.core.spec import BehaviourChange, EchoPolicy, RolloutPolicy
from echoplaned.gates.echo import encoding, verdict
from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.gate import EchoGate, EchoState
from echoplaned.gates.echo.subject import EchoSubject
from echoplaned.gates.gate import PersistentGate
from echoplaned.gates.window import Window

FILES = Path(__file__).parent / "data"
SUBJECT = EchoSubject(EchoPolicy(), BehaviourChange.EQUIVALENT, Task.GENERATION, 0.95, text_count=48)


def test_fitted_listeners_and_bets_go_on() -> None:
    """Scores, wealth, repeats and the verdict are those that the release had when it wrote them."""
    known = encoding.decode(SUBJECT, (FILES / "fitted.npz").read_bytes())
    assert len(known.scored) == 22
    assert known.result is not None
    assert known.result.mean == pytest.approx(0.0024390243902439024, abs=0.0)
    assert (known.live.pairs, len(known.live.waiting.digests)) == (40, 80)
    assert known.log_e == pytest.approx(-0.5701874720209339, rel=1e-12)
    logs = [known.live.log_e_of(each) for each in Listener]
    assert logs == pytest.approx(
        [-0.12071599678055273, -0.10391284049936284, -0.08430793142640153, -0.3211044947884102], rel=1e-12
    )
    said = verdict.decide(known)
    assert (said.verdict, said.reason) == (
        GateVerdict.HOLD,
        "ECHO_SCORING: 22 of 48 golden texts scored by both versions",
    )


def test_a_rollout_that_only_calibrates_goes_on() -> None:
    """Requests that were gathered, and why the margin is a default, are there again."""
    known = encoding.decode(SUBJECT, (FILES / "calibrating.npz").read_bytes())
    assert (len(known.live.calibration), known.live.model) == (12, None)
    assert known.subject.why_default == "in INT8"


def test_the_gate_restores_what_was_written() -> None:
    """Through the gate's own door: an extended window has all texts scored again, another one goes on where it was."""
    gate = EchoGate(48, has_traces=True)
    assert isinstance(gate, PersistentGate)
    content = (FILES / "fitted.npz").read_bytes()
    begun = EchoState(echo.begin(SUBJECT))
    window = Window(RolloutPolicy(extended_stages_percent=(50,)), 1, 1, 0.0)
    after = gate.restore(begun, content, window)
    assert (len(after.echo.missing), after.echo.live.pairs) == (26, 40)
    again = gate.restore(begun, gate.encode(after), replace(window, stage=4))
    assert (len(again.echo.missing), again.echo.live.pairs) == (48, 40)
