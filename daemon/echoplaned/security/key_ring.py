"""The keys of the gateway's callers: derived, never stored.

A key is ``ep_<id>_<HMAC-SHA256(secret, id)>``. The store has its id and its digest, a file of its own the secret; the gateway needs the
keys themselves and is sent those whose digest is still the stored one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from echoplaned.core.door_headers import ANONYMOUS
from echoplaned.core.errors import KeyNotFoundError, KeySecretUnusableError, LimitExceededError, RequestIdReusedError
from echoplaned.core.ids import LOCAL_PRINCIPAL
from echoplaned.core.names import gateway_key_name
from echoplaned.ports.door_clients import DoorClient, DoorClientPublisher, DoorClients
from echoplaned.ports.keys import MAX_ACTIVE_KEYS, GatewayCaller, KeyRequest, KeyTable, Role, StoredKey
from echoplaned.ports.own_tasks import OwnTasks, outcome_of
from echoplaned.security.key_secret import KeySecretFile

PREFIX: Final = "ep_"
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_CHARS: Final = 12
Changed = TypeVar("Changed")


def derive_key(secret: bytes, key_id: str) -> str:
    """Return the key of an id."""
    code = hmac.digest(secret, key_id.encode(), "sha256")
    return f"{PREFIX}{key_id}_{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}"


def digest_of_key(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """Every key; belongs to one event loop.

    Args:
        table: where they outlive the process.
        secret_file: what they are derived from.
        gateway: is told of every change.
        now: seconds since the epoch.
        required: whether the gateway asks for a key.
    """

    def __init__(
        self,
        table: KeyTable,
        secret_file: KeySecretFile,
        gateway: DoorClientPublisher,
        now: Callable[[], float],
        *,
        required: bool,
    ) -> None:
        self._table = table
        self._secret_file = secret_file
        self._gateway = gateway
        self._now = now
        self._required = required
        self._keys: dict[str, StoredKey] = {}
        self._derived: dict[str, str] = {}
        self._secret: bytes | None = None
        self._changing = asyncio.Lock()
        self._changes = OwnTasks()

    def open(self) -> None:
        """Read what is stored, and tell the gateway.

        Raises:
            KeySecretUnusableError: the secret's file is not one to be used.
            StoreUnavailableError: the store cannot be read.
        """
        self._keys = {key.key_id: key for key in self._table.load()}
        self._take_secret(self._secret_file.read())

    @property
    def stored(self) -> tuple[StoredKey, ...]:
        """Every key, the oldest first."""
        return tuple(self._keys.values())

    @property
    def alarms(self) -> tuple[str, ...]:
        """What an operator should look at, one sentence each."""
        lost = sum(self.is_lost(key) for key in self._keys.values())
        if not lost:
            return ()
        text = (
            f"{lost} keys of the gateway do not work, as {self._secret_file.path} is not the secret that they were made with:"
            " put that file back and start the daemon anew, or revoke them and make new ones"
        )
        return (text,)

    def is_lost(self, key: StoredKey) -> bool:
        """Return whether a key was derived from another secret than this daemon has."""
        return key.revoke_time_s is None and key.key_id not in self._derived

    def caller(self, client: str) -> GatewayCaller | None:
        """Return who calls, by what the gateway's header says; None: nobody who may."""
        if client == ANONYMOUS and not self._required:
            return GatewayCaller(LOCAL_PRINCIPAL, Role.CLIENT, is_anonymous=True)
        key = self._keys.get(client)
        if key is None or client not in self._derived:
            return None
        return GatewayCaller(f"key/{key.key_id}", key.request.role, key.request.models)

    def scoped_models(self) -> frozenset[str]:
        """Return the ids of models that keys in force are for.

        Whether the models are there or not.
        """
        return frozenset(model for each in self._derived for model in self._keys[each].request.models)

    async def create(self, request: KeyRequest) -> tuple[StoredKey, str]:
        """Make a key that the gateway takes; return it, and the key itself.

        A repeated request makes none.

        Raises:
            RequestIdReusedError: the request's id came with another body.
            LimitExceededError: there are too many.
            KeySecretUnusableError: there is no secret to derive it from.
            StoreUnavailableError: nothing was written.
        """
        made = await self._change(partial(self._create, request))
        await self._gateway.wait_for_clients()
        return made

    async def _create(self, request: KeyRequest) -> tuple[StoredKey, str]:
        known = self._made_before(request)
        if known is not None:
            return known, self._key_of(known)
        if sum(key.revoke_time_s is None for key in self._keys.values()) >= MAX_ACTIVE_KEYS:
            raise LimitExceededError("keys", f"there are {MAX_ACTIVE_KEYS} keys: revoke some", 60.0)
        secret = await self._read_secret()
        key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS))
        key = derive_key(secret, key_id)
        made = StoredKey(key_id, digest_of_key(key), request, self._now())
        await asyncio.to_thread(self._table.insert, made)
        self._keys[key_id] = made
        if secret != self._secret:
            self._take_secret(secret)
        else:
            self._derived[key_id] = key
            self._tell()
        return made, key

    async def _read_secret(self) -> bytes:
        """Return the secret to derive a new key from; drawn now where there was none.

        While keys are in force it is theirs: to take another one would revoke them all.

        Raises:
            KeySecretUnusableError: the file is not one to be used, has gone, or is another one.
        """
        if self._derived and await asyncio.to_thread(self._secret_file.read) != self._secret:
            raise KeySecretUnusableError(
                f"the secret of the keys, {self._secret_file.path}, is not the one that {len(self._derived)} keys in force were made with:"
                " put that file back; or start the daemon anew, and they are revoked"
            )
        return await asyncio.to_thread(self._secret_file.read_or_create)

    async def revoke(self, key_id: str) -> StoredKey:
        """Revoke a key for good; the gateway refuses it from then on.

        Raises:
            KeyNotFoundError: there is none of this id.
            StoreUnavailableError: nothing was written: it still works.
        """
        revoked = await self._change(partial(self._revoke, key_id))
        await self._gateway.wait_for_clients()
        return revoked

    async def _revoke(self, key_id: str) -> StoredKey:
        key = self._keys.get(key_id)
        if key is None:
            raise KeyNotFoundError(gateway_key_name(key_id))
        if key.revoke_time_s is not None:
            return key
        now_s = self._now()
        revoked = replace(key, revoke_time_s=now_s)
        await asyncio.to_thread(self._table.revoke, key_id, now_s)
        self._derived.pop(key_id, None)
        self._keys[key_id] = revoked
        self._tell()
        # Without those that the table has no room for; where it cannot be read, the key is revoked nevertheless.
        self._keys = {each.key_id: each for each in await asyncio.to_thread(self._table.load)}
        return revoked

    async def _change(self, change: Callable[[], Coroutine[Any, Any, Changed]]) -> Changed:
        """Make one change after the other, each as a whole.

        Who has gone while it waits has changed nothing. A change that has begun ends, whoever has gone: what is stored and what is in
        force are the same after it.
        """
        await self._changing.acquire()
        work = self._changes.begin(change())
        work.add_done_callback(lambda _: self._changing.release())
        return await outcome_of(work)

    def _take_secret(self, secret: bytes | None) -> None:
        """Derive every key that is not revoked.

        One whose digest is not the stored one does not work.
        """
        self._secret = secret
        self._derived = {}
        for key in self._keys.values():
            if secret is not None and key.revoke_time_s is None:
                derived = derive_key(secret, key.key_id)
                if hmac.compare_digest(digest_of_key(derived), key.digest):
                    self._derived[key.key_id] = derived
        self._tell()

    def _made_before(self, request: KeyRequest) -> StoredKey | None:
        for key in self._keys.values():
            if request.request_id and key.request.request_id == request.request_id:
                if key.request.request_digest != request.request_digest:
                    raise RequestIdReusedError(request.request_id)
                return key
        return None

    def _key_of(self, key: StoredKey) -> str:
        """Return the key itself, once more; empty where it was revoked.

        Raises:
            KeySecretUnusableError: it cannot be derived any more.
        """
        if self.is_lost(key):
            raise KeySecretUnusableError(f"{gateway_key_name(key.key_id)} was made with another secret: make a new one")
        return self._derived.get(key.key_id, "")

    def _tell(self) -> None:
        clients = tuple(
            DoorClient(
                key_id,
                self._derived[key_id],
                may_infer=key.request.role.covers(Role.CLIENT),
                models=key.request.models,
                requests_per_minute=key.request.requests_per_minute,
            )
            for key_id, key in sorted(self._keys.items())
            if key_id in self._derived
        )
        # Of revoked keys too: the gateway counts every key anew where this set changes.
        limits = {key.request.requests_per_minute for key in self._keys.values()} - {0}
        self._gateway.publish_clients(DoorClients(clients, self._required, tuple(sorted(limits))))
