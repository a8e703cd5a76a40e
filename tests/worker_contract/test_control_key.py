"""The key to a leader's control."""

from __future__ import annotations

import pytest

from echoplaned.worker_contract.control_key import METADATA_KEY, draw_key, is_key, key_metadata, opens

KEY = "5a" * 32


def test_a_key_is_32_bytes_and_never_drawn_twice() -> None:
    """Keys are long enough that none is guessed."""
    drawn = {draw_key() for _ in range(100)}
    assert len(drawn) == 100
    assert all(is_key(key) and len(bytes.fromhex(key)) == 32 for key in drawn)


@pytest.mark.parametrize("text", ["", "5a", "5A" * 32, "5a" * 33, "zz" * 32, KEY + "\n"])
def test_what_is_no_key(text: str) -> None:
    """Anything but 64 lower-case hexadecimal digits would be refused by gRPC, or by the leader."""
    assert not is_key(text)


def test_the_key_opens() -> None:
    """What the daemon sends opens, among other metadata and in either type that gRPC gives."""
    assert opens(KEY, (("user-agent", "x"), *key_metadata(KEY)))
    assert opens(KEY, ((METADATA_KEY, KEY.encode()),))
    assert opens(KEY, ((METADATA_KEY, "wrong"), (METADATA_KEY, KEY)))


@pytest.mark.parametrize("value", ["", "5a", KEY.upper(), KEY + "5a", "é" * 64, b"\xff" * 64])
def test_nothing_else_opens(value: str | bytes) -> None:
    """A wrong key of any length or alphabet is refused without an error."""
    assert not opens(KEY, ((METADATA_KEY, value),))


def test_no_key_opens_nothing() -> None:
    """A call without metadata is refused, and a leader whose key is empty is closed to everybody."""
    assert not opens(KEY, None)
    assert not opens(KEY, (("echoplane-other", KEY),))
    assert not opens("", ((METADATA_KEY, ""),))
    assert key_metadata("") == ()
