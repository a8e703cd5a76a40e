"""A state for every epoch, each known from its number alone; run as a program, it commits them one by one until it is killed.

``python story.py STATE_DIR [LARGEST_FILE_BYTES]`` prints the epoch of every commit that the store has answered.
"""

from __future__ import annotations

import itertools
import resource
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from echoplaned.core.effects import Announce
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.core.facts import Dtype, ModelFacts, Signature, Task, TensorSpec
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.plan import Component, Plan
from echoplaned.core.rollout_state import GateVerdict, Phase, Rollout, RolloutEntry, Verdict
from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.core.spec import RolloutPolicy, ServingShape, VersionSpec
from echoplaned.core.state import Instance, InstanceState, Model, Operation, OperationKind, State, Version
from echoplaned.store import SqlStore
from echoplaned.testing import builders

STAGES = 8
KEPT_ROLLOUTS = 2
KEPT_OPERATIONS = 5


def state_at(epoch: int) -> State:
    """Return the state of an epoch: one model whose rollouts go through eight stages, one an epoch, and then on to the next one."""
    models = {"m": _model(epoch)} if epoch else {}
    # Every tenth epoch another model is there, so that rows with children come and go.
    if epoch % 10 == 9:
        alone = MappingProxyType({"v0": version("guest", "v0", 1)})
        models["guest"] = replace(_model(1), model_id="guest", versions=alone, rollout=None, routes=None, aliases=())
    first = max(0, epoch // STAGES - KEPT_OPERATIONS)
    operations = {f"op-{n}": _operation(n, epoch) for n in range(first, epoch // STAGES + 1)} if epoch else {}
    return State(
        models=MappingProxyType(models),
        operations=MappingProxyType(operations),
        store_epoch=epoch,
        reservation_epoch=epoch // 2,
        route_epoch=epoch // 3,
        announce_sequence=epoch,
    )


def announces_at(epoch: int) -> tuple[Announce, ...]:
    """Return what the step to an epoch announces."""
    return (Announce(epoch, float(epoch), "models/m", "STAGE", f"epoch {epoch}"),)


def version(model: str, name: str, epoch: int) -> Version:
    """Return a version with one ready instance."""
    key = VersionKey(model, name)
    signature = Signature((TensorSpec("text", "BYTES", (-1,)),), (TensorSpec("embedding", "FP32", (-1, 384)),))
    return Version(
        key=key,
        spec=VersionSpec("file:m", "/models/m", "blake3:00", ServingShape(Dtype.FP32, 256, 8, "torch")),
        facts=ModelFacts(
            "BertModel", Task.EMBEDDING, 22_713_216, Dtype.FP32, 90_868_376, 512, "small", "blake3:00", signature
        ),
        plan=Plan(
            True, "BertModel", 22_713_216, Dtype.FP32, 256, 8, 1, 100, 120, (Component("weights", 90),), ("host",)
        ),
        instances=(
            Instance(
                InstanceKey(key, 0),
                generation=epoch,
                state=InstanceState.READY,
                placement=on_one_device("host", epoch),
                endpoints=builders.endpoints("127.0.0.1:9"),
                leader_id=f"w-{epoch}",
            ),
        ),
        next_ordinal=1,
    )


def _model(epoch: int) -> Model:
    number, stage = divmod(epoch, STAGES)
    names = (f"v{number}", f"v{number + 1}")
    past = tuple(_rollout(n, STAGES, Phase.SUCCEEDED) for n in range(max(0, number - KEPT_ROLLOUTS), number))
    weights = tuple(ClusterView(name, 500_000, (RouteEndpoint("127.0.0.1:9"),), routed=True) for name in names)
    return Model(
        model_id="m",
        versions=MappingProxyType({name: version("m", name, epoch) for name in names}),
        serving_version=names[0],
        rollout=_rollout(number, stage, Phase.OBSERVING) if stage else None,
        past_rollouts=past,
        routes=ModelRoutes("m", epoch // 3, weights, ("Org/M",)),
        labels=(("team", "search"),),
        aliases=("Org/M",),
        update_time_s=float(epoch),
    )


def _rollout(number: int, stage: int, phase: Phase) -> Rollout:
    verdict = Verdict("errors", GateVerdict.PASS, "enough", 0.99, (("new_requests", 300),))
    return Rollout(
        rollout_id=f"r{number}",
        model="m",
        from_version=f"v{number}",
        to_version=f"v{number + 1}",
        policy=RolloutPolicy(stages_percent=(5, 15, 30, 50, 75, 90, 95, 100)),
        operation_id=f"op-{number}",
        phase=phase,
        stage=stage,
        verdicts=(verdict,),
        history=tuple(
            RolloutEntry(n, float(n), Phase.OBSERVING, n, f"stage {n}", (verdict,)) for n in range(1, stage + 1)
        ),
    )


def _operation(number: int, epoch: int) -> Operation:
    done = number < epoch // STAGES
    failure = FailureDetail(Reason.ROLLED_BACK, "worse") if done and number % 2 else None
    return Operation(
        f"op-{number}",
        OperationKind.UPDATE,
        "m",
        request_id=f"request-{number}" if number % 3 else "",
        done=done,
        failure=failure,
    )


def main(state_dir: Path) -> None:
    """Go on from whatever epoch the store is at; print ``refused`` and why when the store cannot be written."""
    store = SqlStore.open(state_dir)
    before = store.load()
    for epoch in itertools.count(before.store_epoch + 1):
        after = state_at(epoch)
        try:
            store.commit(before, after, announces_at(epoch))
        except StoreUnavailableError as error:
            print("refused", error, flush=True)  # noqa: T201 - the parent reads it
            return
        before = after
        print(epoch, flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    main(Path(sys.argv[1]))
