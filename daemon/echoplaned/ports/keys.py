"""The keys of the gateway's callers: what is stored of them, and who needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias


class Role(StrEnum):
    """What may be called with a key; each role may what those before it may.

    VIEWER: reads. CLIENT: calls models. OPERATOR: changes models. ADMIN: everything that the gateway offers.
    """

    VIEWER = "VIEWER"
    CLIENT = "CLIENT"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"

    def covers(self, needed: Role) -> bool:
        """Return whether this role may what another one may."""
        ranks = tuple(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What is asked for with a new key.

    Attributes:
        role: what may be called with it.
        models: ids of models that it is for; empty: all.
        requests_per_minute: requests a minute at most; 0: as many as come.
        display_name: for people; may be empty.
        request_id: by which the caller repeats the request; empty: it does not.
        request_digest: of its body without that id; tells a repeat from a reuse.
    """

    role: Role = Role.CLIENT
    models: tuple[str, ...] = ()
    requests_per_minute: int = 0
    display_name: str = ""
    request_id: str = ""
    request_digest: str = ""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is stored: everything but the key itself.

    Attributes:
        key_id: its id, which is a part of the key.
        digest: SHA-256 of the key, in hexadecimal digits.
        request: what was asked for.
        create_time_s: when it was made, seconds since the epoch.
        revoke_time_s: when it was revoked; None: it was not.
    """

    key_id: str
    digest: str
    request: KeyRequest
    create_time_s: float
    revoke_time_s: float | None = None


class KeyTable(Protocol):
    """Where keys outlive the process. Its methods block."""

    def load(self) -> tuple[StoredKey, ...]:
        """Return every key, the oldest first.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        ...

    def insert(self, key: StoredKey) -> None:
        """Write a new key.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        ...

    def revoke(self, key_id: str, time_s: float) -> None:
        """Write when a key was revoked, and delete those that were revoked long before.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        ...


@dataclass(frozen=True, slots=True)
class GatewayCaller:
    """Somebody who calls through the gateway.

    Attributes:
        principal: as operations name who began them.
        role: what may be called.
        models: ids of models that it may be called for; empty: all.
        is_anonymous: whether it came without a key.
    """

    principal: str
    role: Role
    models: tuple[str, ...] = ()
    is_anonymous: bool = False

    def may_see(self, model: str) -> bool:
        """Return whether a model is one of the caller's."""
        return not self.models or model in self.models


FindCaller: TypeAlias = Callable[[str], GatewayCaller | None]
"""Returns who calls, by what the gateway's header says; None: nobody who may."""


class Keys(Protocol):
    """The keys, as the API makes and revokes them."""

    @property
    def stored(self) -> tuple[StoredKey, ...]:
        """Every key, the oldest first."""
        ...

    def is_lost(self, key: StoredKey) -> bool:
        """Return whether a key was derived from another secret than this daemon has."""
        ...

    async def create(self, request: KeyRequest) -> tuple[StoredKey, str]:
        """Make a key; return it, and the key itself. A repeated request makes none.

        Raises:
            DaemonError: none was made.
        """
        ...

    async def revoke(self, key_id: str) -> StoredKey:
        """Revoke a key for good.

        Raises:
            DaemonError: there is none of this id, or it could not be written.
        """
        ...


MAX_ACTIVE_KEYS: Final = 10_000
"""Keys that are not revoked, at most: the gateway is sent all of them with each change."""
MAX_REQUESTS_PER_MINUTE: Final = 1_000_000
"""The highest rate that a key can be made with; ``keys.proto`` tells it too."""
