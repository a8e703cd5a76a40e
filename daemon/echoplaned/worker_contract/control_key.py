"""The secret key with which the daemon proves itself to a leader's control.

It is drawn by the leader, written in its record, and sent by the daemon with every control call.

A leader listens on loopback, where every local user can dial it. Its record is readable by the user that runs it alone (0600 in a 0700
directory), so whoever sends the key is the daemon, or the same user, against whom nothing here protects. The key is in no command line,
environment or log. Leaders of earlier releases have none and ask for none. Standard library only, as the record is.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

METADATA_KEY: Final = "echoplane-control"
"""Metadata that carries the key, in hexadecimal."""

_BYTES: Final = 32
_KEY: Final = re.compile(rf"[0-9a-f]{{{2 * _BYTES}}}")

Metadata = tuple[tuple[str, str], ...]
"""Metadata of a gRPC call."""


def draw_key() -> str:
    """Draw a key, in hexadecimal."""
    return secrets.token_hex(_BYTES)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return _KEY.fullmatch(text) is not None


def key_metadata(key: str) -> Metadata:
    """Return the call metadata that the daemon sends to a leader with this key.

    Nothing for a leader that has none.
    """
    return ((METADATA_KEY, key),) if key else ()


def opens(key: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether a call's metadata carries the key.

    Nothing opens a leader whose key is empty.

    The comparison takes the same time wherever the first difference is, so that the key cannot be guessed digit by digit.
    """
    wanted = key.encode()
    given = [
        value.encode() if isinstance(value, str) else value for name, value in metadata or () if name == METADATA_KEY
    ]
    return bool(wanted) and any(hmac.compare_digest(wanted, one) for one in given)
