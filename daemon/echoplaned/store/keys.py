"""The table of keys: digests and what may be called with them, never a key.

It is written apart from the state: no step of the core reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from echoplaned.core.names import MODEL_ID
from echoplaned.ports.keys import KeyRequest, Role, StoredKey
from echoplaned.store import schema
from echoplaned.store.errors import StoreCorruptError
from echoplaned.store.ranges import check_ranges
from echoplaned.store.soundness import check_row, raw_columns
from echoplaned.store.store import SqlStore

REVOKED_RETAINED: Final = 1_000

_MODEL: Final = re.compile(MODEL_ID)
_DIGEST: Final = re.compile("[0-9a-f]{64}")


class SqlKeys:
    """The ``KeyTable`` port on the store's database; any thread may call it."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        # Keys whose writing was refused: files that lost their names meanwhile and come back may have them all the same.
        self._refused: set[str] = set()

    def load(self) -> tuple[StoredKey, ...]:
        """Return every key, the oldest first.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        with self._store.reading() as connection:
            query = sa.select(*raw_columns(schema.keys)).order_by(schema.keys.c.row_id)
            rows = connection.execute(query).mappings().all()
        return tuple(_key(check_row(schema.keys, dict(row))) for row in rows)

    def insert(self, key: StoredKey) -> None:
        """Write a new key.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        request = key.request
        row = {
            "key_id": key.key_id,
            "digest": key.digest,
            "role": request.role.value,
            "models": list(request.models),
            "requests_per_minute": request.requests_per_minute,
            "display_name": request.display_name,
            "request_id": request.request_id or None,
            "request_digest": request.request_digest,
            "create_time_s": key.create_time_s,
            "revoke_time_s": key.revoke_time_s,
        }
        with self._writing() as connection:
            connection.execute(sa.insert(schema.keys), row)
            self._refused.add(key.key_id)

    def revoke(self, key_id: str, time_s: float) -> None:
        """Write when a key was revoked, and delete the oldest beyond 1,000 that were.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        table = schema.keys
        newest = (
            sa.select(table.c.row_id)
            .where(table.c.revoke_time_s.is_not(None))
            .order_by(table.c.revoke_time_s.desc(), table.c.row_id.desc())
            .limit(REVOKED_RETAINED)
        )
        with self._writing() as connection:
            connection.execute(sa.update(table).where(table.c.key_id == key_id), {"revoke_time_s": time_s})
            old = table.c.revoke_time_s.is_not(None) & table.c.row_id.not_in(newest)
            connection.execute(sa.delete(table).where(old))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Write within a transaction, without the keys that were refused."""
        with self._store.writing() as connection:
            connection.execute(sa.delete(schema.keys).where(schema.keys.c.key_id.in_(self._refused)))
            yield connection
        self._refused.clear()


def _key(row: dict[str, Any]) -> StoredKey:
    try:
        role = Role(row["role"])
    except ValueError as error:
        raise StoreCorruptError(f"keys {row['key_id']}: {error}") from error
    models = row["models"]
    if not isinstance(models, list) or not all(isinstance(each, str) and _MODEL.fullmatch(each) for each in models):
        raise StoreCorruptError(f"keys {row['key_id']}: its models are no list of names")
    if _DIGEST.fullmatch(row["digest"]) is None:
        raise StoreCorruptError(f"keys {row['key_id']}: its digest is none")
    request = KeyRequest(
        role,
        tuple(models),
        row["requests_per_minute"],
        row["display_name"],
        row["request_id"] or "",
        row["request_digest"],
    )
    key = StoredKey(row["key_id"], row["digest"], request, row["create_time_s"], row["revoke_time_s"])
    check_ranges(f"keys {key.key_id}", key)
    return key
