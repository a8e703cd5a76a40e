"""Domain values to table rows and back.

A row is what SQLAlchemy takes: column names to plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from echoplaned.core.calibration import MemorySample
from echoplaned.core.effects import Announce
from echoplaned.core.rollout_state import Rollout, RolloutEntry
from echoplaned.core.state import Instance, Model, Operation, Version
from echoplaned.store import schema
from echoplaned.store.codec import Codec, CodecError, Json
from echoplaned.store.errors import StoreCorruptError
from echoplaned.store.ranges import check_ranges

T = TypeVar("T")
Key = tuple[str | int, ...]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entity(Generic[T]):
    """How one class lies in its table.

    Every field that ``codec`` knows and that is no column goes into the row's document.

    Attributes:
        table: the table.
        key_columns: columns of the table's natural key; their values come from where the value stands in the state.
        columns: fields that are columns of the same name.
        codec: what writes and reads the class, without the fields that are keys or rows of other tables.
    """

    table: sa.Table
    key_columns: tuple[str, ...]
    columns: tuple[str, ...]
    codec: Codec[T]

    def row(self, key: Key, value: T, position: int | None = None) -> Row:
        """Write a value as a row; ``position`` where the table has such a column.

        Raises:
            CodecError: the value breaks its own type hints.
        """
        document = self.codec.encode(value)
        row: Row = dict(zip(self.key_columns, key, strict=True))
        row.update((name, document.pop(name)) for name in self.columns)
        if "position" in self.table.c:
            row["position"] = position
        if "document" in self.table.c:
            row["document"] = document
        return row

    def value(self, row: Mapping[str, Any], given: Mapping[str, object]) -> T:
        """Read a row; ``given`` has the fields that are not in it.

        Raises:
            StoreCorruptError: the row is not what this daemon writes.
        """
        try:
            return self.codec.decode(self._fields(row), given)
        except CodecError as error:
            key = "/".join(str(row[name]) for name in self.key_columns)
            raise StoreCorruptError(f"{self.table.name} {key}: {error}") from error

    def check(self, key: Key, value: T) -> None:
        """Refuse a value with a number or a text in it that cannot be.

        Raises:
            StoreCorruptError: there is one.
        """
        check_ranges(f"{self.table.name} {'/'.join(map(str, key))}", value, self.codec.without)

    def _fields(self, row: Mapping[str, Any]) -> Json:
        document: Json = row.get("document", {})
        if not isinstance(document, dict) or not document.keys().isdisjoint(self.columns):
            raise CodecError("the document is not an object, or repeats a column")
        return document | {name: row[name] for name in self.columns}


# ``progress``, ``faults``, ``waits``, ``hold`` and the stale subscribers are observed anew after a start; the other names left out
# are keys and child rows.
MODELS = Entity(
    schema.models,
    ("model_id",),
    ("serving_version", "deleting", "create_time_s", "update_time_s"),
    Codec(Model, frozenset({"model_id", "versions", "rollout", "past_rollouts", "progress", "faults", "waits"})),
)
VERSIONS = Entity(
    schema.versions,
    ("model_id", "version_id"),
    ("create_time_s",),
    Codec(Version, frozenset({"key", "instances"})),
)
INSTANCES = Entity(
    schema.instances,
    ("model_id", "version_id", "ordinal"),
    ("generation", "state"),
    Codec(Instance, frozenset({"key"})),
)
ROLLOUTS = Entity(
    schema.rollouts,
    ("model_id", "rollout_id"),
    ("from_version", "to_version", "operation_id", "phase", "stage", "create_time_s", "phase_since_s", "end_time_s"),
    Codec(
        Rollout, frozenset({"rollout_id", "model", "history", "hold", "stale_subscribers", "stale_subscriber_count"})
    ),
)
ROLLOUT_EVENTS = Entity(
    schema.rollout_events,
    ("model_id", "rollout_id", "sequence"),
    ("time_s", "phase", "stage"),
    Codec(RolloutEntry, frozenset({"sequence"})),
)
OPERATIONS = Entity(
    schema.operations,
    ("operation_id",),
    ("kind", "model", "done", "create_time_s", "end_time_s"),
    Codec(Operation, frozenset({"operation_id", "request_id"})),
)
READINGS = Entity(
    schema.readings,
    ("engine", "engine_version", "device", "subject"),
    ("time_s",),
    Codec(MemorySample, frozenset({"subject"})),
)
ANNOUNCES = Entity(
    schema.announces,
    ("sequence",),
    ("time_s", "subject", "kind", "text"),
    Codec(Announce, frozenset({"sequence"})),
)
