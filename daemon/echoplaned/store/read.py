"""Reads a whole state from the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from echoplaned.core.calibration import EngineKey, MemorySample, SampleWindow
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.rollout_state import Rollout, RolloutEntry
from echoplaned.core.state import Instance, Model, Operation, State, Version
from echoplaned.store import schema
from echoplaned.store.errors import StoreCorruptError
from echoplaned.store.references import check_references
from echoplaned.store.rows import (
    INSTANCES,
    MODELS,
    OPERATIONS,
    READINGS,
    ROLLOUT_EVENTS,
    ROLLOUTS,
    VERSIONS,
    Row,
)
from echoplaned.store.soundness import check_row, raw_columns

Group = defaultdict[tuple[str, ...], list[Any]]


def read_sound_state(connection: sa.Connection) -> State:
    """Rebuild the state within the caller's transaction, and check it as a whole.

    Raises:
        StoreCorruptError: a row is not what this daemon writes, or does not fit the others.
        ValueError, TypeError: a value cannot be read; a document is not JSON, say.
    """
    state = read_state(connection)
    check_references(state)
    # A sequence that is taken already would fail every commit from then on.
    newest = sa.select(*raw_columns(schema.announces)).order_by(schema.announces.c.sequence.desc()).limit(1)
    for row in connection.execute(newest).mappings():
        sequence: int = check_row(schema.announces, dict(row))["sequence"]
        if sequence > state.announce_sequence:
            last = state.announce_sequence
            raise StoreCorruptError(
                f"announces {sequence}: sequence: the last one is {last}, as meta's announce_sequence says"
            )
    return state


def read_state(connection: sa.Connection) -> State:
    """Rebuild the state within the caller's transaction.

    Only the types of its values are looked at.

    Raises:
        StoreCorruptError: a row is not what this daemon writes.
        ValueError, TypeError: a value cannot be read; a document is not JSON, say.
    """
    found = [row for row in _rows(connection, schema.meta) if row["meta_id"] == schema.META_ID]
    if not found:
        raise StoreCorruptError("its epochs are missing")
    (epochs,) = found
    return State(
        models=_models(connection),
        operations=_operations(connection),
        calibrations=_calibrations(connection),
        store_epoch=epochs["store_epoch"],
        reservation_epoch=epochs["reservation_epoch"],
        route_epoch=epochs["route_epoch"],
        announce_sequence=epochs["announce_sequence"],
    )


def _rows(connection: sa.Connection, table: sa.Table, *order: str) -> Iterator[Row]:
    query = sa.select(*raw_columns(table)).order_by(*(table.c[name] for name in order))
    for row in connection.execute(query).mappings():
        yield check_row(table, dict(row))


def _models(connection: sa.Connection) -> Mapping[str, Model]:
    versions, rollouts = _versions(connection), _rollouts(connection)
    found: dict[str, Model] = {}
    for row in _rows(connection, schema.models, "row_id"):
        model_id: str = row["model_id"]
        placed: list[tuple[int | None, Rollout]] = rollouts[model_id,]
        under_way = [rollout for position, rollout in placed if position is None]
        if len(under_way) > 1:
            raise StoreCorruptError(f"models {model_id}: {len(under_way)} rollouts are under way")
        given = {
            "model_id": model_id,
            "versions": MappingProxyType({version.key.version: version for version in versions[model_id,]}),
            "rollout": under_way[0] if under_way else None,
            "past_rollouts": tuple(rollout for position, rollout in placed if position is not None),
        }
        found[model_id] = MODELS.value(row, given)
    return MappingProxyType(found)


def _versions(connection: sa.Connection) -> Group:
    instances = _instances(connection)
    found: Group = defaultdict(list)
    for row in _rows(connection, schema.versions, "row_id"):
        key = VersionKey(row["model_id"], row["version_id"])
        given = {"key": key, "instances": tuple(instances[key.model, key.version])}
        version: Version = VERSIONS.value(row, given)
        found[key.model,].append(version)
    return found


def _instances(connection: sa.Connection) -> Group:
    found: Group = defaultdict(list)
    for row in _rows(connection, schema.instances, "position"):
        version = VersionKey(row["model_id"], row["version_id"])
        instance: Instance = INSTANCES.value(row, {"key": InstanceKey(version, row["ordinal"])})
        found[version.model, version.version].append(instance)
    return found


def _rollouts(connection: sa.Connection) -> Group:
    history = _history(connection)
    found: Group = defaultdict(list)
    for row in _rows(connection, schema.rollouts, "position"):
        model_id, rollout_id = row["model_id"], row["rollout_id"]
        given = {"model": model_id, "rollout_id": rollout_id, "history": tuple(history[model_id, rollout_id])}
        found[model_id,].append((row["position"], ROLLOUTS.value(row, given)))
    return found


def _history(connection: sa.Connection) -> Group:
    found: Group = defaultdict(list)
    for row in _rows(connection, schema.rollout_events, "sequence"):
        entry: RolloutEntry = ROLLOUT_EVENTS.value(row, {"sequence": row["sequence"]})
        found[row["model_id"], row["rollout_id"]].append(entry)
    return found


def _operations(connection: sa.Connection) -> Mapping[str, Operation]:
    found: dict[str, Operation] = {}
    for row in _rows(connection, schema.operations, "row_id"):
        operation_id: str = row["operation_id"]
        given = {"operation_id": operation_id, "request_id": row["request_id"] or ""}
        found[operation_id] = OPERATIONS.value(row, given)
    return MappingProxyType(found)


def _calibrations(connection: sa.Connection) -> tuple[SampleWindow, ...]:
    found: dict[EngineKey, list[MemorySample]] = defaultdict(list)
    for row in _rows(connection, schema.readings, "position"):
        reading: MemorySample = READINGS.value(row, {"subject": row["subject"]})
        found[EngineKey(row["engine"], row["engine_version"], row["device"])].append(reading)
    return tuple(SampleWindow(key, tuple(found[key])) for key in sorted(found))
