"""The field rules in the protos accept what the API promises and refuse the rest, all violations at once."""

from __future__ import annotations

from typing import Any, cast

import protovalidate
import pytest
from google.protobuf.message import Message

from echoplane.v1 import diagnostics_pb2, models_pb2, planning_pb2, plans_pb2, rollouts_pb2
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.planning import plan_reservoir

SOURCE = "file:/models/minilm"
GOOD = [
    models_pb2.LoadModelRequest(model_id="minilm", source_uri=SOURCE),
    models_pb2.LoadModelRequest(model_id="a", version_id="v1.0_b-2", source_uri=SOURCE, engine_options={"a.b": "1"}),
    models_pb2.LoadModelRequest(
        model_id="a" * 63, source_uri=SOURCE, request_id="0b1c2d3e-0000-4000-8000-000000000000"
    ),
    models_pb2.UpdateModelRequest(model_id="minilm", version_id="int8"),
    models_pb2.GetModelRequest(name="minilm"),
    models_pb2.GetModelRequest(name="models/minilm"),
    models_pb2.GetModelVersionRequest(name="models/minilm/versions/fp32"),
    models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": ["labels", "tier"]}),
    rollouts_pb2.RolloutPolicy(),
    rollouts_pb2.RolloutPolicy(stages_percent=[5, 15, 30, 50, 75, 90, 100], stage_min_s=1, stage_max_s=1),
    rollouts_pb2.RolloutPolicy(stages_percent=[100]),
    rollouts_pb2.RolloutPolicy(alpha=1e-6, max_error_increase=1e-4, confidence=0.99999, ack_timeout_s=0.1),
    diagnostics_pb2.ExplainRequest(name="minilm"),
    diagnostics_pb2.ExplainRequest(name="models/minilm/rollouts/r1"),
    diagnostics_pb2.ExplainRequest(name="operations/0b1c"),
    diagnostics_pb2.GetMetricsRequest(),
    planning_pb2.PlanModelRequest(source_uri=SOURCE),
]
BAD = [
    (models_pb2.LoadModelRequest(), {"model_id", "source_uri"}),
    (models_pb2.LoadModelRequest(model_id="a/b", source_uri=SOURCE), {"model_id"}),
    (models_pb2.LoadModelRequest(model_id="..", source_uri=SOURCE), {"model_id"}),
    (models_pb2.LoadModelRequest(model_id="minilm\n", source_uri=SOURCE), {"model_id"}),
    (models_pb2.LoadModelRequest(model_id="a" * 10_000, source_uri=SOURCE), {"model_id"}),
    (models_pb2.LoadModelRequest(model_id="models/minilm", source_uri=SOURCE), {"model_id"}),
    (models_pb2.LoadModelRequest(model_id="a", source_uri="file:/a\nb", version_id="V"), {"source_uri", "version_id"}),
    (
        models_pb2.LoadModelRequest(model_id="a", source_uri=SOURCE, dtype=cast(Any, 77), replicas=-1),
        {"dtype", "replicas"},
    ),
    (models_pb2.LoadModelRequest(model_id="a", source_uri=SOURCE, labels={"K!": "v"}), {"labels"}),
    (models_pb2.LoadModelRequest(model_id="a", source_uri="file:" + "x" * 5000), {"source_uri"}),
    (models_pb2.UpdateModelRequest(model_id="minilm"), {""}),
    (models_pb2.GetModelRequest(name="../etc"), {"name"}),
    (models_pb2.GetModelVersionRequest(name="fp32"), {"name"}),
    (models_pb2.ConfigureModelRequest(name="minilm"), {"update_mask"}),
    (models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": ["name"]}), {"update_mask"}),
    (models_pb2.ListModelsRequest(page_size=-1), {"page_size"}),
    (rollouts_pb2.RolloutPolicy(stages_percent=[5, 50]), {""}),
    (rollouts_pb2.RolloutPolicy(stages_percent=[50, 5, 100]), {""}),
    (rollouts_pb2.RolloutPolicy(stages_percent=[5, 5, 100]), {""}),
    (rollouts_pb2.RolloutPolicy(stage_min_s=9, stage_max_s=3), {""}),
    (rollouts_pb2.RolloutPolicy(alpha=float("nan")), {"alpha"}),
    # Above 0, and yet so small that the gate is off, nobody is waited for, or everybody is late.
    (
        rollouts_pb2.RolloutPolicy(
            alpha=1e-320, max_error_increase=1e-320, slo_error_rate=5e-324, confidence=1 - 2**-53, stage_max_s=1e-320
        ),
        {"alpha", "max_error_increase", "slo_error_rate", "confidence", "stage_max_s"},
    ),
    (
        rollouts_pb2.RolloutPolicy(ack_timeout_s=1e-320, revert_timeout_s=1e-9, prepare_timeout_s=1e-9),
        {"ack_timeout_s", "revert_timeout_s", "prepare_timeout_s"},
    ),
    (
        rollouts_pb2.EchoPolicy(alpha=1e-320, max_kl_nats=1e-320, max_distance=1e-320),
        {"alpha", "max_kl_nats", "max_distance"},
    ),
    (planning_pb2.GetReservoirParametersRequest(parameter_count=2**62), {"parameter_count"}),
    (rollouts_pb2.PromoteRolloutRequest(name="models/a/rollouts/r1"), {"reason"}),
    (plans_pb2.ReservoirOverrides(spectral_radius=1.0), {"spectral_radius"}),
    (
        plans_pb2.ReservoirOverrides(spectral_radius=1e-320, leak=1e-320, input_scale=1e-320),
        {"spectral_radius", "leak", "input_scale"},
    ),
    (plans_pb2.ReservoirOverrides(leak=1.0, input_scale=10.0), {"leak", "input_scale"}),
    (plans_pb2.ReservoirOverrides(block_density=0.0), {"block_density"}),
    (plans_pb2.ReservoirOverrides(block_density=float("nan")), {"block_density"}),
    (models_pb2.LoadModelRequest(model_id="a", source_uri=SOURCE, reservoir={"block_density": 0.1}), {"reservoir"}),
    (diagnostics_pb2.ExplainRequest(name="nobody/knows"), {"name"}),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda message: message.DESCRIPTOR.name)
def test_rules_accept(message: Message) -> None:
    """A request that the API promises to take has no violation."""
    assert protovalidate.collect_violations(message) == []


@pytest.mark.parametrize(("message", "fields"), BAD, ids=lambda value: getattr(value, "DESCRIPTOR", value) and "")
def test_rules_refuse(message: Message, fields: set[str]) -> None:
    """A bad request names every field that is wrong, and no other."""
    violations = [violation.proto for violation in protovalidate.collect_violations(message)]
    found = {violation.field.elements[0].field_name if violation.field else "" for violation in violations}
    assert found == fields
    assert all(violation.message for violation in violations)


@pytest.mark.parametrize("layers", range(7))
def test_block_densities(layers: int) -> None:
    """What whole layers give is taken; a value between two is refused with both, as the planning does."""
    density = 2.0**layers / 64
    assert protovalidate.collect_violations(plans_pb2.ReservoirOverrides(block_density=density)) == []
    [violation] = protovalidate.collect_violations(plans_pb2.ReservoirOverrides(block_density=density * 1.5))
    with pytest.raises(FieldInvalidError) as refused:
        plan_reservoir(1, 1, ReservoirOverrides(block_density=density * 1.5))
    [planned] = refused.value.failure.violations
    assert violation.proto.message.removeprefix("must be") in planned.description
