"""Placements, endpoints, tiers and plainer names of fields.

In the columns, and in the documents that the releases before wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Document = dict[str, Any]
Row = dict[str, Any]

_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "versions": {"forget": "delete_when_stopped", "requantised": "int8_baseline"},
    "instances": {"goal": "outcome"},
    "rollouts": {"introduced": "cluster_acknowledged", "goal": "outcome", "window": "evidence_window"},
}
"""Fields of documents, by table: what they were called, and what they are called from here on."""

_SHAPE: Final[Mapping[str, str]] = {
    "dtype": "dtype",
    "context_length": "context_length",
    "max_concurrency": "max_concurrency",
    "engine": "engine",
    "replicas": "replicas",
    "engine_options": "options",
}
"""Fields that lay flat in a version's specification, and what they are called in its shape."""


def upgrade() -> None:
    """Bring columns and documents to their new form.

    What an instance's process id was is dropped: the process is found again by the record that it keeps beside the database.
    """
    op.alter_column("meta", "ledger_epoch", new_column_name="reservation_epoch")
    _rewrite("versions", ("model_id", "version_id"), ("tier", "wanted"), _version)
    _rewrite("instances", ("model_id", "version_id", "ordinal"), ("device_id", "reserved_bytes"), _instance)
    _rewrite("rollouts", ("model_id", "rollout_id"), (), _rollout)
    for table, names in (("versions", ("tier", "wanted")), ("instances", ("device_id", "reserved_bytes", "pid"))):
        for name in names:
            op.drop_column(table, name)


def _rewrite(table: str, key: tuple[str, ...], old: tuple[str, ...], change: Callable[[Row], Document]) -> None:
    """Replace every row's document by what ``change`` makes of the row.

    ``change`` sees the document and the columns that go (``old``).
    """
    connection = op.get_bind()
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in (*key, *old)]
    rows = sa.table(table, *columns, sa.column("document", sa.JSON))
    for row in connection.execute(sa.select(rows)).mappings().all():
        found = [rows.c[name] == row[name] for name in key]
        connection.execute(sa.update(rows).where(*found).values(document=change(dict(row))))


def _version(row: Row) -> Document:
    document = _renamed("versions", row["document"])
    spec = document["spec"]
    shape = {new: spec.pop(old) for old, new in _SHAPE.items() if old in spec}
    document["spec"] = spec | {"shape": shape}
    tier: str = row["tier"]
    return document | {"requested_tier": tier, "desired_tier": tier if row["wanted"] else "COLD"}


def _instance(row: Row) -> Document:
    document = _renamed("instances", row["document"])
    address, device_id = document.pop("address", ""), row["device_id"]
    shares = [{"device_id": device_id, "bytes": row["reserved_bytes"]}]
    return document | {
        "placement": {"node": "local", "shares": shares} if device_id else None,
        "endpoints": [{"protocol": "OIP_GRPC", "address": f"tcp://{address}"}] if address else [],
    }


def _rollout(row: Row) -> Document:
    return _renamed("rollouts", row["document"])


def _renamed(table: str, document: Document) -> Document:
    names = _RENAMED[table]
    return {names.get(name, name): value for name, value in document.items()}
