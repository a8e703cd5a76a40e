"""Settings: flags over environment over defaults, and every error at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoplaned.addresses import Address
from echoplaned.core.failure import Reason
from echoplaned.settings import LogLevel, Settings, SettingsInvalidError, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's own ``ECHOPLANE_*`` variables out of the tests."""
    for name in list(os.environ):
        if name.startswith("ECHOPLANE_"):
            monkeypatch.delenv(name)


def violations(**flags: object) -> dict[str, str]:
    """Load wrong settings and return what is said of each."""
    with pytest.raises(SettingsInvalidError) as caught:
        load_settings(flags)
    assert caught.value.failure.reason is Reason.FIELD_INVALID
    return {violation.field: violation.description for violation in caught.value.failure.violations}


def test_defaults_are_safe() -> None:
    """Without a word the daemon listens on loopback, offers no metrics and may load nothing."""
    settings = load_settings({})
    assert str(settings.listen) == "127.0.0.1:8470"
    assert settings.metrics_listen is None
    assert settings.model_roots == ()
    assert settings.state_dir.is_absolute()
    assert settings.max_message_bytes == 16 * 1024 * 1024
    assert not settings.channelz


def test_flags_come_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A flag wins over its variable; a flag that was not given leaves the variable."""
    monkeypatch.setenv("ECHOPLANE_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("ECHOPLANE_STANDBY_WORKERS", "3")
    monkeypatch.setenv("ECHOPLANE_LOG_LEVEL", "warning")
    monkeypatch.setenv("ECHOPLANE_METRICS_LISTEN", "")
    settings = load_settings({"listen": "[::1]:2", "standby_workers": None, "state_dir": tmp_path / "s"})
    assert settings.listen == Address("::1", 2)
    assert str(settings.listen) == "[::1]:2"
    assert settings.standby_workers == 3
    assert settings.log_level is LogLevel.WARNING
    assert settings.metrics_listen is None
    assert settings.state_dir == tmp_path / "s"


def test_roots_come_resolved_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Roots are separated by colons in the environment, resolved, and told apart by what they are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("ECHOPLANE_MODEL_ROOTS", f"{tmp_path / 'link'}:{tmp_path / 'real'}:{tmp_path}")
    assert load_settings({}).model_roots == ((tmp_path / "real").resolve(), tmp_path.resolve())
    assert load_settings({"model_roots": [str(tmp_path)]}).model_roots == (tmp_path.resolve(),)


def test_all_errors_come_at_once_with_flag_and_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every wrong setting is named in one error, with the two ways to set it."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ECHOPLANE_TORCH_THREADS", "many")
    found = violations(
        listen="0.0.0.0:8470",
        metrics_listen="nowhere",
        model_roots=(str(tmp_path / "gone"), str(tmp_path / "file")),
        standby_workers=-1,
        log_level="LOUD",
        state_dir="a\0b",
        max_modles=3,
    )
    assert set(found) == {
        "listen",
        "metrics_listen",
        "model_roots",
        "standby_workers",
        "log_level",
        "state_dir",
        "max_modles",
    }
    assert "is not loopback" in found["listen"]
    assert "(--listen, ECHOPLANE_LISTEN)" in found["listen"]
    assert "gone' does not exist; " in found["model_roots"]
    assert "file' is not a directory" in found["model_roots"]
    assert "(--model-root, ECHOPLANE_MODEL_ROOTS)" in found["model_roots"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.0.0.0:8470", "is not loopback"),
        ("[::]:8470", "is not loopback"),
        ("10.0.0.1:8470", "is not loopback"),
        ("example.com:8470", "neither an IP address nor localhost"),
        ("127.0.0.1", "is not HOST:PORT"),
        ("127.0.0.1:", "is not HOST:PORT"),
        ("127.0.0.1:65536", "is not HOST:PORT"),
        ("127.0.0.1:" + "1" * 5000, "is not HOST:PORT"),
        ("127.0.0.1:-1", "is not HOST:PORT"),
        ("127.0.0.1:\uff18\uff14", "is not HOST:PORT"),
        (":8470", "neither an IP address"),
        ("::1:8470", "in brackets"),
        ("[127.0.0.1]:8470", "in brackets"),
        ("unix:/tmp/x", "unix sockets are not served yet"),
    ],
)
def test_addresses_that_are_refused(text: str, message: str) -> None:
    """Only a loopback address with a port is taken; the rest is refused in words that say what to write."""
    assert message in violations(listen=text)["listen"]


@pytest.mark.parametrize(
    ("text", "written"), [("localhost:0", "127.0.0.1:0"), ("127.0.0.2:80", "127.0.0.2:80"), ("[::1]:80", "[::1]:80")]
)
def test_addresses_that_are_taken(text: str, written: str) -> None:
    """Loopback in all its forms; an address reads back as it is written."""
    assert str(Address.parse(text)) == written
    assert Address.parse(written) == Address.parse(text)


def test_two_listeners_need_two_ports() -> None:
    """Metrics cannot have the API's own address; port 0 is another port each time."""
    assert "another port" in violations(metrics_listen="127.0.0.1:8470")["metrics_listen"]
    assert load_settings({"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}).metrics_listen == Address(
        "127.0.0.1", 0
    )


@pytest.fixture
def plain_user_dir() -> Iterator[Path]:
    """Return a directory of a user for whom file modes count, and be that user meanwhile (root would read everything)."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_root_without_rights_is_refused(plain_user_dir: Path) -> None:
    """A root that the daemon could not read is found at the start, not by the first load."""
    closed = plain_user_dir / "closed"
    closed.mkdir(mode=0)
    assert "closed' cannot be read" in violations(model_roots=[closed])["model_roots"]
    closed.chmod(0o700)  # else a user for whom modes count could not remove it


def test_settings_do_not_change() -> None:
    """Settings are read once and stay."""
    settings = load_settings({})
    with pytest.raises(ValueError, match="frozen"):
        settings.standby_workers = 2


def test_every_setting_says_what_it_is() -> None:
    """The help text of each flag comes from here."""
    assert all(field.description for field in Settings.model_fields.values())


def test_the_gateway_is_off_and_on_loopback() -> None:
    """Nothing is started without the flag; an address without a port, or one that is taken, is refused with what to do."""
    assert load_settings({}).gateway_listen is None
    assert str(load_settings({"gateway_listen": "127.0.0.1:8480"}).gateway_listen) == "127.0.0.1:8480"
    assert "--gateway-listen" in violations(gateway_listen="127.0.0.1:0")["gateway_listen"]
    assert "--listen" in violations(listen="127.0.0.1:1", gateway_listen="127.0.0.1:1")["gateway_listen"]
    assert (
        "--metrics-listen" in violations(metrics_listen="127.0.0.1:1", gateway_listen="127.0.0.1:1")["gateway_listen"]
    )


@pytest.mark.parametrize("listening", ["0.0.0.0:8480", "[::]:8480", "192.0.2.1:8480"])
def test_other_machines_need_tls_and_keys(listening: str, tmp_path: Path) -> None:
    """An address that other machines reach is refused without TLS and keys, whichever is missing; the text names both flags."""
    given = {"gateway_tls_dir": str(tmp_path), "gateway_keys": "required"}
    assert str(load_settings({"gateway_listen": listening, **given}).gateway_listen) == listening
    for missing in ({}, {"gateway_keys": "required"}, {"gateway_tls_dir": str(tmp_path)}):
        (text,) = violations(gateway_listen=listening, **missing).values()
        assert "--gateway-tls-dir DIR" in text
        assert "--gateway-keys required" in text
    wrong = violations(gateway_listen=listening, gateway_tls_dir="a\0b", gateway_keys="perhaps")
    assert wrong.keys() == {"gateway_tls_dir", "gateway_keys"}, (
        "told of what is wrong itself, and of nothing that follows"
    )
    assert load_settings({"gateway_listen": "127.0.0.1:8480"}).gateway_keys == "off"
