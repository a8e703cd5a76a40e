"""What a served version was measured to take goes into the next plan."""

from __future__ import annotations

import random
from typing import Any

from echoplane.inferring import InferenceClient
from echoplane.v1 import planning_pb2, plans_pb2, types_pb2
from tests.e2e import e2e_system as e

_SEQUENCES, _TOKENS = 16, 512


def test_a_reading_reaches_the_next_plan(own_system: e.MakeSystem) -> None:
    """A plan before any load answers from the prior and says so; after full batches were served, the same plan uses what was measured."""
    system = own_system()
    request = planning_pb2.PlanModelRequest(
        source_uri=system.made.uri("encoder"),
        dtype=types_pb2.DTYPE_BF16,
        context_length=_TOKENS,
        max_concurrency=_SEQUENCES,
    )
    before = system.client.plan_model(request)
    assert before.calibration.sample_count == 0

    fields: dict[str, Any] = {"dtype": types_pb2.DTYPE_BF16, "context_length": _TOKENS, "max_concurrency": _SEQUENCES}
    system.load("measured", **fields)
    instance = system.client.get_version("models/measured/versions/v1").instances[0]
    rng = random.Random(1)
    batch = [[rng.randrange(5, 300) for _ in range(_TOKENS)] for _ in range(_SEQUENCES)]
    with InferenceClient("measured", target=instance.address) as inference:
        for _ in range(3):
            inference.infer_tokens(batch)

    def learned() -> plans_pb2.Plan | None:
        plan = system.client.plan_model(request)
        return plan if plan.calibration.sample_count else None

    after = e.eventually(learned, 60.0, "a plan with what was measured")
    assert after.calibration.sample_count == 1
    assert after.calibration.engine_version
    assert after.calibration.time.ToSeconds() > 0
    assert after.calibration.overhead_bytes != before.calibration.overhead_bytes
    for plan in (before, after):
        taken = {part.name: part.bytes for part in plan.components}
        assert taken["overhead"] == plan.calibration.overhead_bytes
    weights = [part.bytes for plan in (before, after) for part in plan.components if part.name == "weights"]
    assert weights[0] == weights[1]
