"""The tables of the store.

Ids, states and times are columns, for queries and constraints; the rest of each dataclass is a JSON document.
Changing anything here needs a migration in ``migrations/versions``; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

HEAD = "0005"
"""The newest migration. Known without importing Alembic, which is slow; a test compares it with the scripts."""

META_ID = 1

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _row_id() -> sa.Column[int]:
    """Return a key that only keeps the order in which rows came."""
    return sa.Column("row_id", sa.Integer, primary_key=True, autoincrement=True)


def _document() -> sa.Column[object]:
    return sa.Column("document", sa.JSON, nullable=False)


# One row. ``writer`` is who moved the store to this epoch, for the message when two do. The last three are the moment of that; null in
# what a release before wrote.
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("meta_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("store_epoch", sa.BigInteger, nullable=False),
    sa.Column("reservation_epoch", sa.BigInteger, nullable=False),
    sa.Column("route_epoch", sa.BigInteger, nullable=False),
    sa.Column("announce_sequence", sa.BigInteger, nullable=False),
    sa.Column("writer", sa.String, nullable=False),
    _time("commit_time_s", nullable=True),
    sa.Column("boot_id", sa.String, nullable=True),
    _time("boot_s", nullable=True),
)

models = sa.Table(
    "models",
    metadata,
    _row_id(),
    _id("model_id"),
    sa.Column("serving_version", sa.String, nullable=False),
    sa.Column("deleting", sa.String, nullable=False),
    _time("create_time_s"),
    _time("update_time_s"),
    _document(),
    sa.UniqueConstraint("model_id"),
)

versions = sa.Table(
    "versions",
    metadata,
    _row_id(),
    _id("model_id"),
    _id("version_id"),
    _time("create_time_s"),
    _document(),
    sa.UniqueConstraint("model_id", "version_id"),
    sa.ForeignKeyConstraint(["model_id"], ["models.model_id"], ondelete="CASCADE"),
)

# ``position``: the place in the version's tuple.
instances = sa.Table(
    "instances",
    metadata,
    _id("model_id"),
    _id("version_id"),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    _document(),
    sa.PrimaryKeyConstraint("model_id", "version_id", "ordinal"),
    sa.ForeignKeyConstraint(
        ["model_id", "version_id"], ["versions.model_id", "versions.version_id"], ondelete="CASCADE"
    ),
)

# ``position``: the place among the model's past rollouts; null: the one that is under way.
rollouts = sa.Table(
    "rollouts",
    metadata,
    _id("model_id"),
    _id("rollout_id"),
    sa.Column("position", sa.Integer, nullable=True),
    sa.Column("from_version", sa.String, nullable=False),
    sa.Column("to_version", sa.String, nullable=False),
    sa.Column("operation_id", sa.String, nullable=False),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    _time("create_time_s"),
    _time("phase_since_s"),
    _time("end_time_s", nullable=True),
    _document(),
    sa.PrimaryKeyConstraint("model_id", "rollout_id"),
    sa.ForeignKeyConstraint(["model_id"], ["models.model_id"], ondelete="CASCADE"),
)

# Appended to and never updated.
rollout_events = sa.Table(
    "rollout_events",
    metadata,
    _id("model_id"),
    _id("rollout_id"),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    _time("time_s"),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    _document(),
    sa.PrimaryKeyConstraint("model_id", "rollout_id", "sequence"),
    sa.ForeignKeyConstraint(
        ["model_id", "rollout_id"], ["rollouts.model_id", "rollouts.rollout_id"], ondelete="CASCADE"
    ),
)

# ``request_id`` is null where the caller gave none: nulls do not collide in a unique constraint.
operations = sa.Table(
    "operations",
    metadata,
    _row_id(),
    _id("operation_id"),
    sa.Column("request_id", sa.String, nullable=True),
    sa.Column("kind", sa.String, nullable=False),
    _id("model"),
    sa.Column("done", sa.Boolean, nullable=False),
    _time("create_time_s"),
    _time("end_time_s", nullable=True),
    _document(),
    sa.UniqueConstraint("operation_id"),
    sa.UniqueConstraint("request_id"),
)

# ``position``: the place in the window of its engine, version and device, oldest first.
readings = sa.Table(
    "readings",
    metadata,
    _id("engine"),
    _id("engine_version"),
    _id("device"),
    _id("subject"),
    sa.Column("position", sa.Integer, nullable=False),
    _time("time_s"),
    _document(),
    sa.PrimaryKeyConstraint("engine", "engine_version", "device", "subject"),
)

announces = sa.Table(
    "announces",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("time_s"),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

# Written apart from the state. ``digest`` is of the key, which is not here; ``request_id`` is null where the caller gave none.
keys = sa.Table(
    "keys",
    metadata,
    _row_id(),
    _id("key_id"),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("requests_per_minute", sa.Integer, nullable=False),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("request_id", sa.String, nullable=True),
    sa.Column("request_digest", sa.String, nullable=False),
    _time("create_time_s"),
    _time("revoke_time_s", nullable=True),
    sa.UniqueConstraint("key_id"),
    sa.UniqueConstraint("request_id"),
)
