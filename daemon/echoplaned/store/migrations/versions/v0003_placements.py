"""Placements and endpoints in place of one device, one address and a process id."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INSTANCES = sa.table(
    "instances",
    sa.column("model_id", sa.String),
    sa.column("version_id", sa.String),
    sa.column("ordinal", sa.BigInteger),
    sa.column("device_id", sa.String),
    sa.column("reserved_bytes", sa.BigInteger),
    sa.column("document", sa.JSON),
)


def upgrade() -> None:
    """Move device, bytes and address of each instance into its document; forget the process id.

    A process is found again by the record that it keeps beside the database.
    """
    connection = op.get_bind()
    for row in connection.execute(sa.select(_INSTANCES)).mappings().all():
        place = (_INSTANCES.c[name] == row[name] for name in ("model_id", "version_id", "ordinal"))
        document = _instance(row["document"], row["device_id"], row["reserved_bytes"])
        connection.execute(sa.update(_INSTANCES).where(*place).values(document=document))
    for name in ("device_id", "reserved_bytes", "pid"):
        op.drop_column("instances", name)


def _instance(document: dict[str, Any], device_id: str, reserved_bytes: int) -> dict[str, Any]:
    address = document.pop("address", "")
    shares = [{"device_id": device_id, "bytes": reserved_bytes}]
    return document | {
        "placement": {"node": "local", "shares": shares} if device_id else None,
        "endpoints": [{"protocol": "OIP_GRPC", "address": f"tcp://{address}"}] if address else [],
    }
