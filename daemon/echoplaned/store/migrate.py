"""Brings a database to the newest schema.

Alembic is imported only when there is something to do: that costs most of a second.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from echoplaned.store.errors import StoreCorruptError
from echoplaned.store.schema import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "schema"


def migrate(engine: sa.Engine) -> bool:
    """Make the schema the newest one, in one transaction; return whether it was not.

    Raises:
        StoreCorruptError: the schema is one that this daemon does not know.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be written; nothing was changed.
    """
    with engine.begin() as connection:
        found = schema_version(connection)
        if found == HEAD:
            return False
        _upgrade(connection, found)
    return True


def schema_version(connection: sa.Connection) -> str | None:
    """Return the schema's version; None in an empty database."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    table = sa.table(VERSION_TABLE, sa.column("version_num"))
    found: str | None = connection.execute(sa.select(table.c.version_num)).scalar_one_or_none()
    return found


def _upgrade(connection: sa.Connection, found: str | None) -> None:
    from alembic import command  # noqa: PLC0415 - slow, and needed once a schema
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreCorruptError(
            f"its schema {found!r:.40} is not known here (newest: {HEAD}): was it written by a newer daemon?"
        )
    command.upgrade(config, HEAD)
