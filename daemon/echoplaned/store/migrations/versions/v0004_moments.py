"""The moment of the newest commit: by the daemon's clock, and since which boot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns of the moment.

    What was written before has no moment, so its times are taken as they are.
    """
    op.add_column("meta", sa.Column("commit_time_s", sa.Double(), nullable=True))
    op.add_column("meta", sa.Column("boot_id", sa.String(), nullable=True))
    op.add_column("meta", sa.Column("boot_s", sa.Double(), nullable=True))
