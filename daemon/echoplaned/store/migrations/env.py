"""Alembic's environment, which it runs for every command.

The connection comes from ``migrate.py``, with its transaction begun.
"""

from __future__ import annotations

from alembic import context

from echoplaned.store.migrate import VERSION_TABLE
from echoplaned.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite cannot alter a table; Alembic copies it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
