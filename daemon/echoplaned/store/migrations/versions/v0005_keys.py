"""The keys of the gateway's callers, by their digests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table; there were no keys before."""
    op.create_table(
        "keys",
        sa.Column("row_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("request_digest", sa.String(), nullable=False),
        sa.Column("create_time_s", sa.Double(), nullable=False),
        sa.Column("revoke_time_s", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("row_id", name="pk_keys"),
        sa.UniqueConstraint("key_id", name="uq_keys_key_id"),
        sa.UniqueConstraint("request_id", name="uq_keys_request_id"),
    )
