"""Keys: derived, told to the gateway, found by their ids, revoked, and lost with their secret."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echoplaned.core.door_headers import ANONYMOUS
from echoplaned.core.errors import (
    KeyNotFoundError,
    KeySecretUnusableError,
    LimitExceededError,
    RequestIdReusedError,
    StoreUnavailableError,
)
from echoplaned.ports.door_clients import DoorClients
from echoplaned.ports.keys import KeyRequest, Role, StoredKey
from echoplaned.security import key_ring
from echoplaned.security.key_ring import KeyRing, derive_key, digest_of_key
from echoplaned.security.key_secret import KeySecretFile


class Table:
    """Keys in memory, one a request's id.

    ``broken``: nothing can be written; ``unreadable``: nothing can be read; ``open``: cleared, what is written waits on the disk.
    """

    def __init__(self) -> None:
        self.keys: dict[str, StoredKey] = {}
        self.broken = False
        self.unreadable = False
        self.open = threading.Event()
        self.open.set()
        self.writing = threading.Event()

    def load(self) -> tuple[StoredKey, ...]:
        """Return all."""
        if self.unreadable:
            raise StoreUnavailableError("a test")
        return tuple(self.keys.values())

    def insert(self, key: StoredKey) -> None:
        """Add one."""
        self._check()
        assert not key.request.request_id or key.request.request_id not in {
            each.request.request_id for each in self.keys.values()
        }
        self.keys[key.key_id] = key

    def revoke(self, key_id: str, time_s: float) -> None:
        """Note the time."""
        self._check()
        self.keys[key_id] = replace(self.keys[key_id], revoke_time_s=time_s)

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailableError("a test")
        self.writing.set()
        self.open.wait(5)


class Gateway:
    """Remembers what it was told; ``ready`` is cleared where it has not taken it yet."""

    def __init__(self) -> None:
        self.told: list[DoorClients] = []
        self.ready = asyncio.Event()
        self.ready.set()

    def publish_clients(self, clients: DoorClients) -> None:
        """Note it."""
        self.told.append(clients)

    async def wait_for_clients(self) -> None:
        """Wait as long as the test says."""
        await self.ready.wait()


class Stage:
    """A ring with its table, its secret's folder, and what the gateway was told."""

    def __init__(self, folder: Path, table: Table | None = None, *, required: bool = True) -> None:
        self.table = table or Table()
        self.gateway = Gateway()
        self.told = self.gateway.told
        times = itertools.count(1000)
        secret = KeySecretFile(folder / "key-secret")
        self.ring = KeyRing(self.table, secret, self.gateway, lambda: float(next(times)), required=required)
        self.ring.open()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Yield a ring without keys."""
    return Stage(tmp_path)


def test_keys_are_derived() -> None:
    """A key is its id and a code of it under the secret: the same always, another for another id or secret."""
    key = derive_key(b"s" * 32, "abc")
    assert key == derive_key(b"s" * 32, "abc")
    assert key.startswith("ep_abc_")
    assert len(key) == len("ep_abc_") + 43
    assert len({key, derive_key(b"s" * 32, "abd"), derive_key(b"t" * 32, "abc")}) == 3


async def test_nothing_is_made_before_it_is_needed(stage: Stage, tmp_path: Path) -> None:
    """Without keys there is no secret; the gateway is told that nobody may call."""
    assert stage.told == [DoorClients((), required=True)]
    secret = KeySecretFile(tmp_path / "key-secret")
    assert secret.read() is None
    await stage.ring.create(KeyRequest())
    assert secret.read() is not None


async def test_the_table_has_digests_alone(stage: Stage) -> None:
    """What is stored is the digest; what the gateway is told is the key, hidden where it is shown."""
    stored, key = await stage.ring.create(KeyRequest(Role.VIEWER, ("m",), 5))
    assert stage.table.keys == {stored.key_id: stored}
    assert stored.digest == digest_of_key(key)
    assert key.split("_", 2)[2] not in repr(stage.table.keys)
    (client,) = stage.told[-1].clients
    assert (client.client, client.key, client.may_infer) == (stored.key_id, key, False)
    assert (client.models, client.requests_per_minute) == (("m",), 5)
    assert key not in repr(stage.told)


async def test_limits_stay_with_the_table(stage: Stage, tmp_path: Path) -> None:
    """The gateway is told what any stored key may ask a minute, also of revoked ones, by the next daemon too."""
    made = [(await stage.ring.create(KeyRequest(requests_per_minute=many)))[0] for many in (600, 5, 0, 5)]
    assert stage.told[-1].limits == (5, 600)
    for each in made:
        await stage.ring.revoke(each.key_id)
    assert (stage.told[-1].clients, stage.told[-1].limits) == ((), (5, 600))
    assert Stage(tmp_path, stage.table).told[-1].limits == (5, 600)


async def test_callers_are_found_by_their_ids(stage: Stage) -> None:
    """The gateway says an id; who is nobody's key, revoked, or without one is nobody."""
    stored, _ = await stage.ring.create(KeyRequest(Role.OPERATOR, ("m",)))
    found = stage.ring.caller(stored.key_id)
    assert found is not None
    assert (found.principal, found.role, found.models) == (f"key/{stored.key_id}", Role.OPERATOR, ("m",))
    assert (found.may_see("m"), found.may_see("n")) == (True, False)
    await stage.ring.revoke(stored.key_id)
    for client in (stored.key_id, "", ANONYMOUS, "nobody"):
        assert stage.ring.caller(client) is None, client


async def test_without_required_keys_anybody_is_a_client(tmp_path: Path) -> None:
    """Who comes without a key calls models and reads, in nobody's name."""
    stage = Stage(tmp_path, required=False)
    found = stage.ring.caller(ANONYMOUS)
    assert found is not None
    assert (found.principal, found.role, found.is_anonymous) == ("local", Role.CLIENT, True)
    assert stage.ring.caller("") is None
    assert not stage.told[-1].required


async def test_a_repeated_request_makes_no_second_key(stage: Stage) -> None:
    """The same id is answered with the same key, in one daemon and the next; with another body it is refused."""
    request = KeyRequest(request_id="r", request_digest="d")
    (first, key), again = await asyncio.gather(stage.ring.create(request), stage.ring.create(request))
    assert (first, key) == again
    later = Stage(stage.ring._secret_file.path.parent, stage.table)
    assert await later.ring.create(request) == (first, key)
    with pytest.raises(RequestIdReusedError):
        await later.ring.create(replace(request, request_digest="e"))
    await later.ring.revoke(first.key_id)
    assert (await later.ring.create(request))[1] == ""
    assert len(stage.table.keys) == 1


async def test_revoking_is_for_good(stage: Stage) -> None:
    """A revoked key is told to the gateway no more; revoking it again changes nothing; what is not there is not found."""
    stored, _ = await stage.ring.create(KeyRequest())
    revoked = await stage.ring.revoke(stored.key_id)
    assert not stage.told[-1].clients
    assert await stage.ring.revoke(stored.key_id) == revoked
    with pytest.raises(KeyNotFoundError):
        await stage.ring.revoke("nobody")


async def test_a_revocation_that_was_written_is_in_force(stage: Stage) -> None:
    """The gateway is told though the table cannot be read afterwards, and who asks again is answered."""
    stored, _ = await stage.ring.create(KeyRequest())
    stage.table.unreadable = True
    with pytest.raises(StoreUnavailableError):
        await stage.ring.revoke(stored.key_id)
    assert not stage.told[-1].clients
    assert stage.ring.caller(stored.key_id) is None
    assert stage.ring.alarms == ()
    assert (await stage.ring.revoke(stored.key_id)).revoke_time_s is not None


async def _cut_off(stage: Stage, work: Coroutine[Any, Any, object]) -> None:
    """Cancel a call while what it writes is on its way to the disk."""
    stage.table.open.clear()
    stage.table.writing.clear()
    call = asyncio.create_task(work)
    await asyncio.to_thread(stage.table.writing.wait, 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    stage.table.open.set()


async def test_a_creation_that_is_cut_off_is_whole(stage: Stage) -> None:
    """The caller goes while the key is written: it is stored, known and told to the gateway; the same request again is answered with it."""
    request = KeyRequest(request_id="r", request_digest="d")
    await _cut_off(stage, stage.ring.create(request))
    stored, key = await stage.ring.create(request)
    assert stage.table.keys == {stored.key_id: stored}
    assert stage.ring.stored == (stored,)
    assert [(each.client, each.key) for each in stage.told[-1].clients] == [(stored.key_id, key)]
    assert await stage.ring.create(request) == (stored, key)


async def test_a_revocation_that_is_cut_off_is_whole(stage: Stage) -> None:
    """The caller goes while it is written: nobody calls with the key any more, and it is listed as revoked."""
    stored, _ = await stage.ring.create(KeyRequest())
    await _cut_off(stage, stage.ring.revoke(stored.key_id))
    await stage.ring.create(KeyRequest())  # changes come one after the other
    assert stage.table.keys[stored.key_id].revoke_time_s is not None
    assert stage.ring.caller(stored.key_id) is None
    assert stored.key_id not in {each.client for each in stage.told[-1].clients}
    assert next(each for each in stage.ring.stored if each.key_id == stored.key_id).revoke_time_s is not None


async def test_who_goes_before_its_turn_makes_no_key(stage: Stage) -> None:
    """A caller that goes while another's change is written has made none, and the next is not held up."""
    stage.table.open.clear()
    first = asyncio.create_task(stage.ring.create(KeyRequest(display_name="first")))
    await asyncio.to_thread(stage.table.writing.wait, 5)
    gone = asyncio.create_task(stage.ring.create(KeyRequest(display_name="gone")))
    await asyncio.sleep(0.01)
    gone.cancel()
    stage.table.open.set()
    await first
    await stage.ring.create(KeyRequest(display_name="next"))
    assert [each.request.display_name for each in stage.ring.stored] == ["first", "next"]


async def test_what_was_not_written_did_not_happen(stage: Stage) -> None:
    """With a broken store no key is made, and one that could not be revoked works on."""
    stored, _ = await stage.ring.create(KeyRequest())
    stage.table.broken = True
    with pytest.raises(StoreUnavailableError):
        await stage.ring.create(KeyRequest())
    with pytest.raises(StoreUnavailableError):
        await stage.ring.revoke(stored.key_id)
    assert stage.ring.caller(stored.key_id) is not None
    assert [each.client for each in stage.told[-1].clients] == [stored.key_id]


async def test_losing_the_secret_revokes_all(stage: Stage, tmp_path: Path) -> None:
    """With another secret or none no old key works and an alarm says so; a new one does, and the old file brings them back."""
    old, _ = await stage.ring.create(KeyRequest())
    secret = tmp_path / "key-secret"
    kept = secret.read_bytes()
    secret.unlink()
    later = Stage(tmp_path, stage.table)
    assert later.ring.caller(old.key_id) is None
    assert later.ring.is_lost(old)
    assert not later.told[-1].clients
    assert "1 keys" in later.ring.alarms[0]
    new, _ = await later.ring.create(KeyRequest())
    assert [each.client for each in later.told[-1].clients] == [new.key_id]
    secret.write_bytes(kept)
    back = Stage(tmp_path, stage.table)
    assert [each.client for each in back.told[-1].clients] == [old.key_id]
    await back.ring.revoke(new.key_id)
    assert back.ring.alarms == ()


@pytest.mark.parametrize("other", [None, "a" * 64])
async def test_a_running_daemon_takes_no_other_secret(stage: Stage, tmp_path: Path, other: str | None) -> None:
    """Its file removed or replaced: the keys in force stay so, none is made, and no secret is drawn in its place."""
    old, _ = await stage.ring.create(KeyRequest())
    secret = tmp_path / "key-secret"
    kept = secret.read_bytes()
    secret.unlink()
    if other is not None:
        secret.write_text(other)
        secret.chmod(0o600)
    told = len(stage.told)
    with pytest.raises(KeySecretUnusableError, match="put that file back"):
        await stage.ring.create(KeyRequest())
    assert stage.ring.caller(old.key_id) is not None
    assert len(stage.told) == told
    assert secret.exists() is (other is not None)
    secret.write_bytes(kept)
    secret.chmod(0o600)
    new, _ = await stage.ring.create(KeyRequest())
    assert {each.client for each in stage.told[-1].clients} == {old.key_id, new.key_id}


async def test_a_refused_creation_takes_no_secret(stage: Stage) -> None:
    """The first key of all, which the table has no room for: the next one is made as if there had been none."""
    stage.table.broken = True
    with pytest.raises(StoreUnavailableError):
        await stage.ring.create(KeyRequest())
    assert not stage.told[-1].clients
    stage.table.broken = False
    made, _ = await stage.ring.create(KeyRequest())
    assert [each.client for each in stage.told[-1].clients] == [made.key_id]


async def test_there_is_a_most(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are bounded; one that is revoked makes room."""
    monkeypatch.setattr(key_ring, "MAX_ACTIVE_KEYS", 2)
    first, _ = await stage.ring.create(KeyRequest())
    await stage.ring.create(KeyRequest())
    with pytest.raises(LimitExceededError):
        await stage.ring.create(KeyRequest())
    await stage.ring.revoke(first.key_id)
    assert await stage.ring.create(KeyRequest())


async def test_a_change_is_answered_once_it_is_in_force(stage: Stage) -> None:
    """Whoever has the answer can use the key, and nobody one that is said to be revoked; other changes do not wait for it."""
    stage.gateway.ready.clear()
    making = [asyncio.create_task(stage.ring.create(KeyRequest())) for _ in range(2)]
    while len(stage.told) < 3:
        await asyncio.sleep(0.001)
    assert not any(each.done() for each in making)
    stage.gateway.ready.set()
    (first, _), _ = await asyncio.gather(*making)
    stage.gateway.ready.clear()
    revoking = asyncio.create_task(stage.ring.revoke(first.key_id))
    while len(stage.told) < 4:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert not revoking.done()
    assert first.key_id not in {each.client for each in stage.told[-1].clients}
    stage.gateway.ready.set()
    assert (await revoking).revoke_time_s is not None
