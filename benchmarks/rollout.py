"""A rollout of seven stages whose evidence is free: what the machinery itself takes, from UpdateModel to the end."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.reporting import Row
from benchmarks.world import daemon, scratch
from echoplane import Client, ClientOptions
from echoplane.v1 import models_pb2, operations_pb2, rollouts_pb2
from echoplaned.testing.checkpoints import make_encoder, perturb

ROUNDS = 3
MODEL = "tiny"
STAGES = 7
POLICY = rollouts_pb2.RolloutPolicy(name="bench", stage_min_s=0.0, soak_s=0.0, probe_count=1)
_OPTIONS = ClientOptions(poll_initial_s=0.02, poll_max_s=0.02)
_PHASES = rollouts_pb2.RolloutPhase


@dataclass(frozen=True, slots=True)
class Timed:
    """One rollout: all of it in seconds, and the seconds it was seen in each phase."""

    total_s: float
    phases_s: dict[str, float]


def measure() -> list[Row]:
    """Roll out a few versions of a tiny model that nobody calls, one after another."""
    with scratch() as folder:
        models = folder / "models"
        first = make_encoder(models / "v0")
        sources = [perturb(first, models / f"v{number + 1}", scale=1e-6, seed=number) for number in range(ROUNDS)]
        # No spares: the load comes before the stages and is not what is measured; a spare that warms up would disturb them.
        with daemon(standby=0, roots=(models,)) as process, Client(process.address, _OPTIONS) as client:
            request = models_pb2.LoadModelRequest(model_id=MODEL, version_id="v0", source_uri=f"file:{first}")
            client.wait(client.load_model(request), 120)
            timed = [roll_out(client, source) for source in sources]
    return rows(timed)


def roll_out(client: Client, source: Path) -> Timed:
    """Update to a version and follow the rollout to its end."""
    request = models_pb2.UpdateModelRequest(
        model_id=MODEL, version_id=source.name, source_uri=f"file:{source}", policy=POLICY
    )
    began = time.perf_counter()
    operation = client.update_model(request)
    metadata = operations_pb2.OperationMetadata()
    client.get_operation(operation.name).metadata.Unpack(metadata)
    seen = [("PREPARING", began)]
    for rollout in client.watch_rollout(metadata.rollout, 120):
        phase = _PHASES.Name(rollout.phase).removeprefix("ROLLOUT_PHASE_")
        if phase != seen[-1][0]:
            seen.append((phase, time.perf_counter()))
    assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED, rollout
    client.wait(operation, 60)
    phases_s: dict[str, float] = {}
    for (phase, entered), (_, left) in pairwise([*seen, ("", time.perf_counter())]):
        phases_s[phase] = phases_s.get(phase, 0.0) + left - entered
    return Timed(time.perf_counter() - began, phases_s)


def rows(timed: list[Timed]) -> list[Row]:
    """Fold the rollouts."""

    def phase(*names: str) -> float:
        return statistics.median(sum(each.phases_s.get(name, 0.0) for name in names) for each in timed)

    overhead = statistics.median(each.total_s - each.phases_s.get("PREPARING", 0.0) for each in timed)
    return [
        Row(f"{STAGES} stages, free evidence", overhead, "s", limit=5.0, aim="< 5 s"),
        Row("- shift and acknowledge", phase("SHIFTING"), "s"),
        Row("- observe and soak", phase("OBSERVING", "SOAKING"), "s"),
        Row("- release: drain the old version", phase("RELEASING", "CLEANING"), "s"),
        Row("beside it: the load before, without a spare", phase("PREPARING"), "s"),
    ]
