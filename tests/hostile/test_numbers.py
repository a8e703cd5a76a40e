"""Numbers that nobody can have meant: in load reports and in policies."""

from __future__ import annotations

import time

import grpc
import pytest

from echoplane.v1 import diagnostics_pb2, rollouts_pb2
from tests.e2e import e2e_system as e
from tests.hostile.raw_streams import LRS, connection, load_report

MOST = {
    "total_successful_requests": 2**63,
    "total_error_requests": 2**63,
    "total_issued_requests": 2**64 - 1,
    "total_requests_in_progress": 2**64 - 1,
}
MADE_UP = 2_000


def test_a_load_report_of_64_bits_breaks_no_answer(system: e.System) -> None:
    """After reports of 2^63 requests, for versions that exist and thousands that do not, everything can still be asked."""
    system.load("numbers")
    system.update("numbers", "v2", "better", e.fast_policy(stages_percent=[5, 100]))
    versions = [f"models/numbers/versions/{name}" for name in ("v1", "v2")]
    e.eventually(lambda: system.rollout("numbers").stage >= 1, e.LOAD_S, "the first stage")
    with connection(system.daemon.address) as start:
        stream = start(LRS)
        made_up = [f"models/numbers/versions/made-up-{number}" for number in range(MADE_UP)]
        stream.send(load_report("liar", dict.fromkeys([*versions, *made_up], MOST)))
        stream.answer()
        until = time.monotonic() + 4.0
        while time.monotonic() < until:
            stream.send(load_report("liar", dict.fromkeys(versions, MOST)))
            _ask_everything(system, "numbers")
            time.sleep(0.2)
    _ask_everything(system, "numbers")
    system.delete("numbers")


def _ask_everything(system: e.System, model: str) -> None:
    rollout = system.rollout(model)
    assert rollout.stage >= 1
    metrics = system.client.get_metrics()
    counted = [c for v in metrics.versions for c in v.requests if c.source == diagnostics_pb2.COUNT_SOURCE_LRS]
    assert all(0 <= c.server_error_count < 2**62 for c in counted)
    assert system.client.get_status().active_rollouts is not None
    assert {v.version.rpartition("/")[2] for v in metrics.versions if v.version.startswith(f"models/{model}/")} <= {
        "v1",
        "v2",
    }


@pytest.mark.parametrize(
    "policy",
    [
        rollouts_pb2.RolloutPolicy(alpha=1e-320),
        rollouts_pb2.RolloutPolicy(ack_timeout_s=1e-320),
        rollouts_pb2.RolloutPolicy(max_error_increase=5e-324),
        rollouts_pb2.RolloutPolicy(confidence=1 - 2**-53),
        rollouts_pb2.RolloutPolicy(stage_max_s=float("inf")),
        rollouts_pb2.RolloutPolicy(soak_s=float("nan")),
    ],
    ids=lambda policy: str(policy).strip(),
)
def test_a_policy_that_switches_a_gate_off_is_refused(system: e.System, policy: rollouts_pb2.RolloutPolicy) -> None:
    """A bound that is above 0 and still means nothing is FIELD_INVALID and named, before anything is looked up."""
    with e.refused("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT) as caught:
        system.update("nobody", "v2", "better", policy)
    (violation,) = caught.value.failure.field_violations
    assert violation.field.startswith("policy.")


@pytest.mark.parametrize("text", ["0", "257", "1e3", "-1", "0x10", "٣", "", "9" * 100])
def test_engine_options_are_checked_at_the_call(system: e.System, text: str) -> None:
    """An option of the wrong type, or out of bounds, is refused at once, not by a worker a minute later."""
    began = time.monotonic()
    request = system.load_request("options", engine_options={"torch_threads": text})
    with e.refused("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT) as caught:
        system.client.load_model(request)
    assert time.monotonic() - began < 10.0  # on a busy machine; a worker would say so after a minute or more
    (violation,) = caught.value.failure.field_violations
    assert violation.field == 'engine_options["torch_threads"]'
    assert not [model for model in system.client.list_models() if model.name == "models/options"]
