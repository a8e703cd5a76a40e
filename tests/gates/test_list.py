"""The list of gates: one Protocol, no gate known by name outside of the list, and gates that abstain."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import echoplaned
from echoplaned.core.rollout_state import GateVerdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.evaluation import observe, weigh
from echoplaned.gates.gate import Lack, Need, Observation, Source
from echoplaned.gates.standard import list_gates
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval, RequestCounts
from tests.gates.judging import GATES, asks_for_pairs, begin, passes, verdict

DAEMON = Path(echoplaned.__file__).parent
POLICY = RolloutPolicy(probe_count=20)
WORKER = Source("WORKER", tells_client_errors=True, routed=False, reporting=True)
LRS = Source("LRS", tells_client_errors=False, routed=True)
GOOD = Interval(RequestCounts(ok=200, arrivals=200), RequestCounts(ok=3800, arrivals=3800))
FAILING = Interval(RequestCounts(server_errors=50, arrivals=50), RequestCounts(ok=950, arrivals=950))


def lacks(*needs: Need, replaced: bool = False) -> tuple[Lack, ...]:
    """Return what the new version's engines lack."""
    return tuple(Lack(need, "v2", "WORKER", replaced) for need in needs)


def test_only_gates_judge() -> None:
    """Every function called ``judge`` in the daemon is the Protocol's, or one of its implementations, a file a gate."""
    found = {
        str(path.relative_to(DAEMON))
        for path in DAEMON.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "judge"
    }
    assert found == {"gates/gate.py", *(f"gates/{gate.name}/gate.py" for gate in GATES)}


def test_the_list_is_in_the_order_of_what_is_asked() -> None:
    """Probes come after the gates that ask for them; the needs are those that an engine may lack."""
    assert [gate.name for gate in GATES] == ["errors", "arrivals", "clients", "probes", "echo"]
    assert [set(gate.needs()) for gate in GATES] == [{Need.ERRORS}, {Need.ARRIVALS}, set(), set(), {Need.TRACES}]
    assert list_gates(48, has_traces=True)[-1].needs() == frozenset()


@pytest.mark.parametrize(
    ("need", "gate", "words"),
    [(Need.ERRORS, "errors", "count no errors"), (Need.ARRIVALS, "arrivals", "count no arrivals")],
)
def test_a_gate_without_its_source_abstains_by_name(need: Need, gate: str, words: str) -> None:
    """Unset is not zero: the gate says that it abstains and why, with no confidence, and paired probes decide in its place."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (WORKER,))
    evidence = observe(evidence, Observation(6.0, (("WORKER", GOOD),), 0.05, 1, lacks=lacks(need)))
    weighed = weigh(evidence, 6.0)
    said = verdict(weighed, gate)
    assert (said.verdict, said.confidence) == (GateVerdict.PASS, 0.0)
    assert (
        said.reason == f"ABSTAINED: the gate {gate} abstains: the engines of version v2 {words}; paired probes decide"
    )
    assert verdict(weighed, "probes").verdict is GateVerdict.HOLD
    assert asks_for_pairs(weighed)
    assert not passes(weighed)
    pairs = (PairOutcome(new_ok=True, old_ok=True),) * 20
    evidence = observe(evidence, Observation(8.0, (("WORKER", GOOD),), 0.05, 1, 0, pairs, lacks=lacks(need)))
    assert passes(weigh(evidence, 8.0))


def test_what_an_engine_does_not_count_is_no_evidence() -> None:
    """Clients' load reports stand in for an engine that counts no errors, undiluted by its zeros, but fail nobody by themselves."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (LRS, WORKER))
    seen = Observation(6.0, (("LRS", FAILING), ("WORKER", GOOD)), 0.05, 1, lacks=lacks(Need.ERRORS, replaced=True))
    said = verdict(weigh(observe(evidence, seen), 6.0), "errors")
    assert (said.verdict, said.confidence) == (GateVerdict.HOLD, 0.0)
    assert said.reason == (
        "UNCOUNTED: the engines of version v2 count no errors, and clients' reports alone fail no version; they say "
        "ERRORS_WORSE: the new version's error rate is significantly higher than the old version's "
        "(e-value 1e12, threshold 1e3)"
    )
    assert dict(said.counts)["new_server_error_count"] == 50


def test_a_failing_probe_fails_where_others_abstain() -> None:
    """An engine that counts nothing and answers wrongly does not get through."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (WORKER,))
    pairs = (PairOutcome(new_ok=False, old_ok=True, detail="refused"),) * 20
    seen = Observation(6.0, (), 0.05, 1, 0, pairs, lacks=lacks(Need.ERRORS, Need.ARRIVALS))
    assert verdict(weigh(observe(evidence, seen), 6.0), "probes").verdict is GateVerdict.FAIL


def test_probes_are_not_judged_where_nobody_asks() -> None:
    """Good live traffic passes by itself, and the gate of the probes has no say."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (replace(WORKER, reporting=False),))
    weighed = weigh(observe(evidence, Observation(6.0, (("WORKER", GOOD),), 0.05, 1)), 6.0)
    assert {v.gate for v in weighed.verdicts} == {"errors", "arrivals"}
    assert passes(weighed)
    assert weighed.asks == ()
