"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table, and the one row of ``meta``."""
    _create_meta()
    _create_models()
    _create_instances()
    _create_rollouts()
    _create_operations()
    op.create_table(
        "announces",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_announces"),
    )


def _create_meta() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("meta_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store_epoch", sa.BigInteger(), nullable=False),
        sa.Column("ledger_epoch", sa.BigInteger(), nullable=False),
        sa.Column("route_epoch", sa.BigInteger(), nullable=False),
        sa.Column("announce_sequence", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("meta_id", name="pk_meta"),
    )
    zeros = {"store_epoch": 0, "ledger_epoch": 0, "route_epoch": 0, "announce_sequence": 0}
    op.bulk_insert(meta, [{"meta_id": 1, "writer": ""} | zeros])


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("row_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("serving_version", sa.String(), nullable=False),
        sa.Column("deleting", sa.String(), nullable=False),
        sa.Column("create_time_s", sa.Double(), nullable=False),
        sa.Column("update_time_s", sa.Double(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", name="pk_models"),
        sa.UniqueConstraint("model_id", name="uq_models_model_id"),
    )
    op.create_table(
        "versions",
        sa.Column("row_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("create_time_s", sa.Double(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", name="pk_versions"),
        sa.UniqueConstraint("model_id", "version_id", name="uq_versions_model_id_version_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.model_id"], name="fk_versions_models", ondelete="CASCADE"),
    )


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "version_id", "ordinal", name="pk_instances"),
        sa.ForeignKeyConstraint(
            ["model_id", "version_id"],
            ["versions.model_id", "versions.version_id"],
            name="fk_instances_versions",
            ondelete="CASCADE",
        ),
    )


def _create_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("from_version", sa.String(), nullable=False),
        sa.Column("to_version", sa.String(), nullable=False),
        sa.Column("operation_id", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("create_time_s", sa.Double(), nullable=False),
        sa.Column("phase_since_s", sa.Double(), nullable=False),
        sa.Column("end_time_s", sa.Double(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "rollout_id", name="pk_rollouts"),
        sa.ForeignKeyConstraint(["model_id"], ["models.model_id"], name="fk_rollouts_models", ondelete="CASCADE"),
    )
    op.create_table(
        "rollout_events",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "rollout_id", "sequence", name="pk_rollout_events"),
        sa.ForeignKeyConstraint(
            ["model_id", "rollout_id"],
            ["rollouts.model_id", "rollouts.rollout_id"],
            name="fk_rollout_events_rollouts",
            ondelete="CASCADE",
        ),
    )


def _create_operations() -> None:
    op.create_table(
        "operations",
        sa.Column("row_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("operation_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("create_time_s", sa.Double(), nullable=False),
        sa.Column("end_time_s", sa.Double(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", name="pk_operations"),
        sa.UniqueConstraint("operation_id", name="uq_operations_operation_id"),
        sa.UniqueConstraint("request_id", name="uq_operations_request_id"),
    )
