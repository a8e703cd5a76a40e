"""Whether the rows of a state fit together.

What they name exists, and no number is one that cannot be. The core takes this for granted, and SQLite does not look at it. Only what no
release could have written is refused: rollouts that ended, and operations that are done, may name versions that were deleted since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from echoplaned.core import names
from echoplaned.core.rollout_state import HISTORY_RETAINED, TERMINAL_PHASES, Phase, Rollout
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.core.state import WEIGHT_TOTAL_PPM, Instance, InstanceState, Model, Operation, State, Version
from echoplaned.core.tables import ROLLOUT_TABLE
from echoplaned.store import schema
from echoplaned.store.errors import StoreCorruptError
from echoplaned.store.ranges import MAX_COUNTER, check_range
from echoplaned.store.rows import INSTANCES, MODELS, OPERATIONS, READINGS, ROLLOUT_EVENTS, ROLLOUTS, VERSIONS

_EPOCHS: Final = ("store_epoch", "reservation_epoch", "route_epoch", "announce_sequence")
_SHARING: Final = frozenset({Phase.SHIFTING, Phase.OBSERVING})
"""Phases whose weights are those of the stage, so that there must be one."""
_OUTCOMES: Final = frozenset(cell.outcome for cells in ROLLOUT_TABLE.values() for cell in cells.values())
"""What a rollout under way can lead to, None among them."""


def check_references(state: State) -> None:
    """Refuse a state that this daemon cannot have left.

    Raises:
        StoreCorruptError: a value is out of range, or names what does not exist; the message says in which table and row.
    """
    for name in _EPOCHS:
        check_range(f"{schema.meta.name}: {name}", getattr(state, name), (0, MAX_COUNTER))
    for model in state.models.values():
        _check_model(state, model)
    _check_aliases(state.models)
    for operation in state.operations.values():
        _check_operation(state, operation)
    for window in state.calibrations:
        key = window.key
        for sample in window.samples:
            READINGS.check((key.engine, key.engine_version, key.device, sample.subject), sample)


def _check_aliases(models: Mapping[str, Model]) -> None:
    taken = set(models)
    for model in models.values():
        for alias in model.aliases:
            if alias in taken:
                raise _refusal(schema.models.name, model.model_id, f"aliases: the name {alias!r:.80} is taken")
            taken.add(alias)


def _check_model(state: State, model: Model) -> None:
    _check_name(names.model_name(model.model_id), schema.models.name, model.model_id)
    MODELS.check((model.model_id,), model)
    # While a model is deleted its versions go one by one, whoever names them.
    if model.serving_version and not model.deleting:
        _check_version_exists(model, model.serving_version, schema.models.name, model.model_id, "serving_version")
    if model.routes is not None:
        for problem in _route_problems(state, model, model.routes):
            raise _refusal(schema.models.name, model.model_id, f"routes.{problem}")
    for version in model.versions.values():
        _check_version(version)
    for rollout in model.past_rollouts:
        _check_rollout(rollout)
        if rollout.phase not in TERMINAL_PHASES:
            raise _refusal(schema.rollouts.name, _key(rollout), f"phase: it has ended, and not in {rollout.phase}")
    if model.rollout is not None:
        _check_rollout(model.rollout)
        _check_under_way(model, model.rollout)


def _route_problems(state: State, model: Model, routes: ModelRoutes) -> Iterator[str]:
    if routes.model != model.model_id:
        yield f"model: {routes.model!r:.80} is another one"
    if routes.epoch > state.route_epoch:
        yield f"epoch: {routes.epoch} is above the newest one, route_epoch {state.route_epoch} of {schema.meta.name}"
    for cluster in routes.clusters:
        if cluster.version not in model.versions:
            yield f"clusters: there is no version {cluster.version!r:.80}"
    routed = [cluster.weight_ppm for cluster in routes.clusters if cluster.routed]
    if routed and sum(routed) != WEIGHT_TOTAL_PPM:
        yield f"clusters: weights add up to {sum(routed)}, not to {WEIGHT_TOTAL_PPM}"


def _check_version(version: Version) -> None:
    key = version.key
    row = (key.model, key.version)
    _check_name(names.key_name(key), schema.versions.name, "/".join(row))
    VERSIONS.check(row, version)
    for instance in version.instances:
        ordinal = instance.key.ordinal
        INSTANCES.check((*row, ordinal), instance)
        place = f"{key.model}/{key.version}/{ordinal}"
        if not 0 <= ordinal < version.next_ordinal:
            raise _refusal(
                schema.instances.name, place, f"ordinal: the version's next one is {version.next_ordinal} already"
            )
        if (problem := _instance_problem(instance)) is not None:
            raise _refusal(schema.instances.name, place, problem)


def _instance_problem(instance: Instance) -> str | None:
    if instance.state is InstanceState.GONE:
        return "state: what is GONE is not kept"
    if instance.placement is None and instance.state is not InstanceState.PENDING:
        return f"placement: there is none, though it is {instance.state}"
    if instance.outcome is None and instance.state is InstanceState.STOPPING:
        return "outcome: there is none, though it is STOPPING"
    return None


def _check_rollout(rollout: Rollout) -> None:
    key = (rollout.model, rollout.rollout_id)
    _check_name(names.rollout_name(*key), schema.rollouts.name, _key(rollout))
    ROLLOUTS.check(key, rollout)
    stages = rollout.policy.stages_percent
    if not stages or stages != tuple(sorted(set(stages))) or stages[0] < 1 or stages[-1] != 100:
        raise _refusal(
            schema.rollouts.name, _key(rollout), "policy.stages_percent: it must rise from 1 or more, and end at 100"
        )
    check_range(f"{schema.rollouts.name} {_key(rollout)}: stage", rollout.stage, (0, len(stages)))
    # The first ones are forgotten where there are as many as are kept.
    first = rollout.history[0].sequence if len(rollout.history) >= HISTORY_RETAINED else 1
    for number, entry in enumerate(rollout.history, start=first):
        place = f"{_key(rollout)}/{entry.sequence}"
        ROLLOUT_EVENTS.check((*key, entry.sequence), entry)
        check_range(f"{schema.rollout_events.name} {place}: stage", entry.stage, (0, len(stages)))
        if entry.sequence != number:
            raise _refusal(schema.rollout_events.name, place, f"sequence: {number} is missing, or was altered")


def _check_under_way(model: Model, rollout: Rollout) -> None:
    table, key = schema.rollouts.name, _key(rollout)
    if rollout.phase in TERMINAL_PHASES:
        raise _refusal(table, key, f"phase: it is under way, and {rollout.phase} at once")
    if rollout.outcome not in _OUTCOMES:
        raise _refusal(table, key, f"outcome: nothing leads to {rollout.outcome}")
    if rollout.phase in _SHARING and not rollout.stage:
        raise _refusal(table, key, f"stage: there is none, though it is {rollout.phase}")
    if not model.deleting:
        _check_version_exists(model, rollout.from_version, table, key, "from_version")
        _check_version_exists(model, rollout.to_version, table, key, "to_version")


def _check_operation(state: State, operation: Operation) -> None:
    table, key = schema.operations.name, operation.operation_id
    _check_name(names.operation_name(key), table, key)
    OPERATIONS.check((key,), operation)
    if not operation.done and operation.model not in state.models:
        raise _refusal(table, key, f"model: it runs, and there is no model {operation.model!r:.80}")


def _check_version_exists(model: Model, version: str, table: str, key: str, column: str) -> None:
    if version not in model.versions:
        raise _refusal(table, key, f"{column}: there is no version {version!r:.80}")


def _check_name(name: str, table: str, key: str) -> None:
    if names.parse(name) is None:
        raise _refusal(table, key, f"{name!r:.80} is no name")


def _key(rollout: Rollout) -> str:
    return f"{rollout.model}/{rollout.rollout_id}"


def _refusal(table: str, key: str, text: str) -> StoreCorruptError:
    return StoreCorruptError(f"{table} {key}: {text}")
