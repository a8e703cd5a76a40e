"""The rows to write to bring the store from one state to the next.

A pure function of the two states.
Values that are the same object are skipped without a look (a step shares what it did not change); of the others the rows are compared.
Rows of children go with their parent by the tables' cascades.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import sqlalchemy as sa

from echoplaned.core.calibration import MemorySample
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.rollout_state import Rollout, RolloutEntry
from echoplaned.core.state import Instance, Model, Operation, State, Version
from echoplaned.store import schema
from echoplaned.store.codec import CodecError
from echoplaned.store.rows import (
    INSTANCES,
    MODELS,
    OPERATIONS,
    READINGS,
    ROLLOUT_EVENTS,
    ROLLOUTS,
    VERSIONS,
    Entity,
    Key,
    Row,
)

T = TypeVar("T")

WRITE_ORDER = (
    schema.models,
    schema.versions,
    schema.instances,
    schema.rollouts,
    schema.rollout_events,
    schema.operations,
    schema.readings,
)
"""Parents before children; deletions go the other way."""


@dataclass(slots=True)
class TableChanges:
    """Rows to write to one table.

    Attributes:
        key_columns: names of the columns that make a key, in the order of the keys' values.
        deleted: keys of the rows to delete.
        updated: key and new values of the rows to update.
        inserted: rows to insert.
    """

    key_columns: tuple[str, ...]
    deleted: list[Key] = field(default_factory=list)
    updated: list[tuple[Key, Row]] = field(default_factory=list)
    inserted: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to write to the store.

    Attributes:
        tables: changes by table name.
    """

    tables: Mapping[str, TableChanges]

    def of(self, table: sa.Table) -> TableChanges:
        """Return the changes of one table."""
        return self.tables[table.name]


@dataclass(frozen=True, slots=True)
class _Placed(Generic[T]):
    """A value at its place: ``position`` in its tuple, None where it has none."""

    value: T
    position: int | None = None


def changes_between(before: State, after: State) -> Changes:
    """Return the rows that differ between two states.

    Raises:
        CodecError: the new state cannot be stored: a value breaks its type hints or lies under another key than its own, or an
            entry of a rollout's history was altered (it is append-only).
    """
    entities = (MODELS, VERSIONS, INSTANCES, ROLLOUTS, ROLLOUT_EVENTS, OPERATIONS, READINGS)
    found = Changes({entity.table.name: TableChanges(entity.key_columns) for entity in entities})
    old_models, new_models = _models(before), _models(after)
    _compare(found, MODELS, old_models, new_models)
    for key, placed in new_models.items():
        old = old_models.get(key)
        if old is None or old.value is not placed.value:
            _compare_model(found, None if old is None else old.value, placed.value)
    _compare(found, OPERATIONS, _operations(before), _operations(after), operation_row)
    if before.calibrations is not after.calibrations:
        _compare(found, READINGS, _readings(before), _readings(after))
    return found


def operation_row(key: Key, value: Operation, position: int | None) -> Row:
    """Write an operation as a row.

    An empty request id becomes null, so that it does not collide.
    """
    return OPERATIONS.row(key, value, position) | {"request_id": value.request_id or None}


def _compare_model(found: Changes, old: Model | None, new: Model) -> None:
    old_versions, new_versions = _versions(old), _versions(new)
    _compare(found, VERSIONS, old_versions, new_versions)
    for key, version in new_versions.items():
        old_version = old_versions.get(key)
        if old_version is None or old_version.value is not version.value:
            before = {} if old_version is None else _instances(old_version.value)
            _compare(found, INSTANCES, before, _instances(version.value))
    old_rollouts, new_rollouts = _rollouts(old), _rollouts(new)
    _compare(found, ROLLOUTS, old_rollouts, new_rollouts)
    for key, rollout in new_rollouts.items():
        old_rollout = old_rollouts.get(key)
        if old_rollout is None or old_rollout.value is not rollout.value:
            _compare_history(found, {} if old_rollout is None else _history(key, old_rollout.value), key, rollout.value)


def _compare_history(found: Changes, old: dict[Key, _Placed[RolloutEntry]], key: Key, rollout: Rollout) -> None:
    altered = found.of(schema.rollout_events).updated
    before = len(altered)
    _compare(found, ROLLOUT_EVENTS, old, _history(key, rollout))
    if len(altered) > before:
        raise CodecError(f"history of rollout {rollout.rollout_id}: entry {altered[-1][0][-1]} was altered")


def _compare(
    found: Changes,
    entity: Entity[T],
    old: Mapping[Key, _Placed[T]],
    new: Mapping[Key, _Placed[T]],
    to_row: Callable[[Key, T, int | None], Row] | None = None,
) -> None:
    """Add the differences of one table's worth of values."""
    changes, to_row = found.of(entity.table), to_row or entity.row
    changes.deleted.extend(key for key in old if key not in new)
    for key, placed in new.items():
        stored = old.get(key)
        if stored is None:
            changes.inserted.append(to_row(key, placed.value, placed.position))
        elif stored.value is not placed.value or stored.position != placed.position:
            row = to_row(key, placed.value, placed.position)
            if row != to_row(key, stored.value, stored.position):
                changes.updated.append((key, row))


def _models(state: State) -> dict[Key, _Placed[Model]]:
    return {_same(name, model.model_id): _Placed(model) for name, model in state.models.items()}


def _operations(state: State) -> dict[Key, _Placed[Operation]]:
    return {_same(name, operation.operation_id): _Placed(operation) for name, operation in state.operations.items()}


def _readings(state: State) -> dict[Key, _Placed[MemorySample]]:
    placed: dict[Key, _Placed[MemorySample]] = {}
    for window in state.calibrations:
        key = window.key
        for position, reading in enumerate(window.samples):
            place = (key.engine, key.engine_version, key.device, reading.subject)
            placed[_new(place, placed)] = _Placed(reading, position)
    return placed


def _versions(model: Model | None) -> dict[Key, _Placed[Version]]:
    if model is None:
        return {}
    return {
        (model.model_id, *_same(VersionKey(model.model_id, name), version.key, name)): _Placed(version)
        for name, version in model.versions.items()
    }


def _instances(version: Version) -> dict[Key, _Placed[Instance]]:
    model_id, version_id = version.key.model, version.key.version
    placed: dict[Key, _Placed[Instance]] = {}
    for position, instance in enumerate(version.instances):
        ordinal = instance.key.ordinal
        _same(InstanceKey(version.key, ordinal), instance.key)
        placed[_new((model_id, version_id, ordinal), placed)] = _Placed(instance, position)
    return placed


def _rollouts(model: Model | None) -> dict[Key, _Placed[Rollout]]:
    placed: dict[Key, _Placed[Rollout]] = {}
    for position, rollout in _each_rollout(model):
        _same(rollout.model, model.model_id if model else "")
        placed[_new((rollout.model, rollout.rollout_id), placed)] = _Placed(rollout, position)
    return placed


def _each_rollout(model: Model | None) -> Iterator[tuple[int | None, Rollout]]:
    if model is not None:
        yield from enumerate(model.past_rollouts)
        if model.rollout is not None:
            yield None, model.rollout


def _history(key: Key, rollout: Rollout) -> dict[Key, _Placed[RolloutEntry]]:
    placed: dict[Key, _Placed[RolloutEntry]] = {}
    for entry in rollout.history:
        placed[_new((*key, entry.sequence), placed)] = _Placed(entry)
    return placed


def _same(place: object, own: object, *key: str) -> Key:
    """Return the key of a value, having made sure that it lies where it says it does."""
    if place != own:
        raise CodecError(f"{own} lies under the key {place}")
    return key or (str(own),)


def _new(key: Key, placed: Mapping[Key, object]) -> Key:
    if key in placed:
        raise CodecError(f"{'/'.join(map(str, key))} is there twice")
    return key
