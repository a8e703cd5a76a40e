"""What becomes of the gateway's certificate while its directory changes: taken when good, left out and told of when not."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from echoplaned.gateway.certificate_watch import CertificateWatch, WatchedCertificate
from echoplaned.gateway.options import CertificateRefusedError
from tests.gateway.tls_parts import DAY, copy_files, make_pki

NOW = 1_900_000_000.0
DAY_S = DAY.total_seconds()


@dataclass
class Watched:
    """A watch on a directory, under a clock of its own."""

    watch: CertificateWatch
    folder: Path
    secret: Path
    clock: list[float]

    def look(self) -> str:
        """Look once, as the watch does each second; return the alarm."""
        try:
            self.watch.take()
        except CertificateRefusedError as error:
            self.watch._refuse(str(error))
        return self.watch.alarm

    def served(self) -> Any:
        """Return what Envoy reads."""
        (secret,) = json.loads(self.secret.read_text())["resources"]
        return secret["tls_certificate"]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Take a good certificate."""
    make_pki(tmp_path / "pki", NOW)
    copy_files(tmp_path / "pki" / "door", tmp_path / "tls")
    clock, secret = [NOW], tmp_path / "certificate.json"
    watch = CertificateWatch(WatchedCertificate(tmp_path / "tls", secret), lambda: clock[0])
    watch.take()
    return Watched(watch, tmp_path / "tls", secret, clock)


def test_what_envoy_reads(watched: Watched) -> None:
    """One private file with both, whole; it is written anew only when something changed."""
    assert watched.secret.stat().st_mode & 0o777 == 0o600
    assert watched.served()["certificate_chain"]["inline_string"] == (watched.folder / "cert.pem").read_text()
    assert watched.served()["private_key"]["inline_string"] == (watched.folder / "key.pem").read_text()
    inode = watched.secret.stat().st_ino
    assert watched.look() == ""
    assert watched.secret.stat().st_ino == inode
    assert [path.name for path in watched.secret.parent.glob("certificate*")] == ["certificate.json"]


def test_a_new_pair_is_taken(watched: Watched, tmp_path: Path) -> None:
    """A good pair takes the place of the one before, whichever of its files comes first; between them nothing changes or is told."""
    make_pki(tmp_path / "other", NOW + 60)
    before = watched.served()
    for name in ("key.pem", "cert.pem"):
        shutil.copyfile(tmp_path / "other" / "door" / name, watched.folder / name)
        if name == "key.pem":
            assert watched.look() == ""
            assert watched.served() == before
    assert watched.look() == ""
    assert watched.served()["certificate_chain"]["inline_string"] == (watched.folder / "cert.pem").read_text()
    assert watched.watch.expires_s == NOW + 60 + DAY_S


def test_bad_files_are_left_out_and_told_of(watched: Watched) -> None:
    """The old pair stays in use whatever becomes of the files; the alarm says why, until they are good again."""
    before, good = watched.served(), {path: path.read_bytes() for path in watched.folder.glob("*.pem")}
    watched.clock[0] += DAY_S / 10
    for damage in (b"", b"garbage", None):
        for path in good:
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
        watched.look()
        alarm = watched.look()
        assert "goes on with its certificate, which is valid until" in alarm
        assert f"what is in {watched.folder} now is not used: " in alarm
        assert watched.served() == before
    for path, content in good.items():
        path.write_bytes(content)
    assert watched.look() == ""


def test_an_expired_one_is_not_taken(watched: Watched, tmp_path: Path) -> None:
    """A certificate that callers would refuse does not replace one that they accept."""
    make_pki(tmp_path / "old", NOW - 10 * DAY_S)
    before = watched.served()
    copy_files(tmp_path / "old" / "door", watched.folder)
    watched.look()
    assert "expired at" in watched.look()
    assert watched.served() == before


def test_its_end_is_told_before(watched: Watched) -> None:
    """In the last third of its life, a week at most, and when it is over; new files end the alarm."""
    watched.clock[0] = NOW + 0.6 * DAY_S
    assert watched.look() == ""
    watched.clock[0] = NOW + 0.7 * DAY_S
    assert "expires in 7 hours, at 2030-" in watched.look()
    assert "echoplaned pki rotate" in watched.look()
    watched.clock[0] = NOW + DAY_S
    assert "expired at 2030-" in watched.look()
    assert "callers refuse it" in watched.watch.alarm
    make_pki(watched.folder.parent / "new", watched.clock[0])
    copy_files(watched.folder.parent / "new" / "door", watched.folder)
    assert watched.look() == ""


def test_without_any_it_says_why(tmp_path: Path) -> None:
    """A daemon that waits for its disk may find a certificate exchanged for a bad one: the alarm says so until it is good again."""
    make_pki(tmp_path / "pki", NOW)
    copy_files(tmp_path / "pki" / "door", tmp_path / "tls")
    watch = CertificateWatch(WatchedCertificate(tmp_path / "tls", tmp_path / "certificate.json"), lambda: NOW)
    found = Watched(watch, tmp_path / "tls", tmp_path / "certificate.json", [NOW])
    assert watch.alarm == ""
    good = (tmp_path / "tls" / "cert.pem").read_text()
    (tmp_path / "tls" / "cert.pem").write_text("nothing")
    for _ in range(3):
        told = found.look()
    assert told.startswith("the gateway has no certificate: ")
    (tmp_path / "tls" / "cert.pem").write_text(good)
    assert found.look() == ""
