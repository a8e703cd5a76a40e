"""Writes what differs between two states, within a transaction of the caller."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from echoplaned.core.effects import Announce
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.store import schema
from echoplaned.store.diff import WRITE_ORDER, Changes
from echoplaned.store.rows import ANNOUNCES, Key, Row

ANNOUNCES_RETAINED: Final = 10_000


def write_changes(connection: sa.Connection, changes: Changes) -> None:
    """Write the rows that differ.

    Raises:
        StoreUnavailableError: a row to update is not there.
    """
    for table in reversed(WRITE_ORDER):
        for key in changes.of(table).deleted:
            connection.execute(sa.delete(table).where(*_at(table, changes.of(table).key_columns, key)))
    for table in WRITE_ORDER:
        for key, row in changes.of(table).updated:
            _update(connection, table, changes.of(table).key_columns, key, row)
        if inserted := changes.of(table).inserted:
            connection.execute(sa.insert(table), inserted)


def _update(connection: sa.Connection, table: sa.Table, key_columns: tuple[str, ...], key: Key, row: Row) -> None:
    values = {name: value for name, value in row.items() if name not in key_columns}
    if connection.execute(sa.update(table).where(*_at(table, key_columns, key)), values).rowcount != 1:
        raise StoreUnavailableError(f"{table.name} {'/'.join(map(str, key))} is not in the store")


def _at(table: sa.Table, key_columns: tuple[str, ...], key: Key) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in zip(key_columns, key, strict=True)]


def append_announces(connection: sa.Connection, announces: tuple[Announce, ...]) -> None:
    """Write announces, and delete those beyond the newest 10,000."""
    if not announces:
        return
    rows: list[dict[str, Any]] = [ANNOUNCES.row((announce.sequence,), announce) for announce in announces]
    connection.execute(sa.insert(schema.announces), rows)
    newest = max(announce.sequence for announce in announces)
    connection.execute(sa.delete(schema.announces).where(schema.announces.c.sequence <= newest - ANNOUNCES_RETAINED))
