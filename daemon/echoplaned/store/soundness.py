"""Whether what a database holds can be believed, before anything is done by it."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from echoplaned.store.errors import StoreCorruptError

_NAMED: Final = 3
"""Damages that are named; one is enough to refuse."""


def check_soundness(engine: sa.Engine) -> None:
    """Have SQLite check every page, and every row that belongs to another.

    Raises:
        StoreCorruptError: it found damage.
        sqlalchemy.exc.SQLAlchemyError: it could not look.
    """
    with engine.begin() as connection:
        damages = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA quick_check({_NAMED})")]
        if damages != ["ok"]:
            raise StoreCorruptError("; ".join(damages))
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if orphans:
        table, _row, parent, _key = orphans[0]
        raise StoreCorruptError(f"{len(orphans)} rows belong to none, the first one of {table} to none of {parent}")


def raw_columns(table: sa.Table) -> list[sa.ColumnElement[Any]]:
    """Return a table's columns as they are to be read for ``check_row``.

    Whatever stands for a truth value is read as it stands there.
    """
    return [
        sa.type_coerce(column, sa.Integer).label(column.name) if isinstance(column.type, sa.Boolean) else column
        for column in table.columns
    ]


def check_row(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row, having checked that its values are of its columns' types.

    SQLite itself lets any column hold anything.

    Raises:
        StoreCorruptError: one is not.
    """
    return {column.name: _value(table, column, row[column.name]) for column in table.columns}


def _value(table: sa.Table, column: sa.Column[Any], value: object) -> object:
    kind = column.type
    if isinstance(kind, sa.JSON) or (value is None and column.nullable):
        return value
    if isinstance(kind, sa.Boolean) and isinstance(value, int) and value in {0, 1}:
        return bool(value)
    if isinstance(kind, sa.Boolean) or not isinstance(value, kind.python_type):
        raise StoreCorruptError(f"{table.name}: a row's {column.name} is {type(value).__name__}")
    return value
