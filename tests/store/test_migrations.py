"""The schema: migrations make what the tables say, on SQLite and for PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from echoplaned.core.errors import StoreUnavailableError
from echoplaned.store import SqlStore, StoreCorruptError
from echoplaned.store.engine import sqlite_engine
from echoplaned.store.migrate import MIGRATIONS, VERSION_TABLE, migrate, schema_version
from echoplaned.store.schema import HEAD, metadata
from echoplaned.store.store import DATABASE_NAME


def test_an_empty_database_is_brought_to_head_once(tmp_path: Path) -> None:
    """The first start creates the schema; the second one finds nothing to do."""
    engine = sqlite_engine(tmp_path / "a.db")
    assert migrate(engine)
    assert not migrate(engine)
    with engine.begin() as connection:
        assert schema_version(connection) == HEAD
    engine.dispose()


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    """Alembic finds no difference between what the migrations made and what the code declares."""
    engine = sqlite_engine(tmp_path / "a.db")
    migrate(engine)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


def test_constraints_agree_as_well(tmp_path: Path) -> None:
    """Names and cascades of keys, which Alembic does not compare on SQLite, are the declared ones."""
    made, declared = sqlite_engine(tmp_path / "a.db"), sqlite_engine(tmp_path / "b.db")
    migrate(made)
    metadata.create_all(declared)
    for table in metadata.tables:
        found = [
            (
                inspector.get_pk_constraint(table),
                sorted(inspector.get_foreign_keys(table), key=str),
                sorted(inspector.get_unique_constraints(table), key=str),
                [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            )
            for inspector in (sa.inspect(made), sa.inspect(declared))
        ]
        assert found[0] == found[1], table
    made.dispose()
    declared.dispose()


def test_head_is_the_newest_script() -> None:
    """The constant that spares the import of Alembic is true, and the history is one line."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_start_with_a_new_schema_does_not_import_alembic(state_dir: Path) -> None:
    """Alembic costs most of a second; only the first start pays it."""
    program = (
        "import sys; from pathlib import Path; from echoplaned.store import SqlStore;"
        "SqlStore.open(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program, state_dir], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs == ["True\n", "False\n"]


def test_a_schema_from_the_future_is_refused(store: SqlStore, state_dir: Path) -> None:
    """A daemon that is older than its store says so and touches nothing."""
    with store._engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608 - a constant
    with pytest.raises(StoreCorruptError, match="'9999' is not known here"):
        SqlStore.open(state_dir)


@pytest.mark.long
def test_a_migration_that_fails_leaves_nothing(state_dir: Path) -> None:
    """When the schema cannot be made whole, none of it is made; the next start makes it."""
    state_dir.mkdir(mode=0o700)
    engine = sqlite_engine(state_dir / DATABASE_NAME)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE announces (sequence INTEGER)"))
    with pytest.raises(StoreUnavailableError, match="already exists"):
        SqlStore.open(state_dir)
    assert sa.inspect(engine).get_table_names() == ["announces"]
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE announces"))
    engine.dispose()
    SqlStore.open(state_dir).close()


def test_pragmas_hold_on_every_connection(store: SqlStore) -> None:
    """Write-ahead log, fsync on commit, foreign keys and the timeout are set on each new connection."""
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    with store._engine.connect() as first, store._engine.connect() as second:
        for connection in (first, second):
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
            assert found == ["wal", 2, 1, 2000]


def test_the_tables_can_be_made_on_postgresql() -> None:
    """Every type and constraint has a PostgreSQL form."""
    statements = [str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.sorted_tables]
    assert len(statements) == len(metadata.tables)
    assert any("DOUBLE PRECISION" in statement and "JSON" in statement for statement in statements)
