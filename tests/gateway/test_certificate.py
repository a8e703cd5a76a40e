"""Which files a gateway can serve with, and why not."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from echoplaned.gateway.certificate import CertificateFiles, ServerCertificate
from echoplaned.gateway.options import CertificateRefusedError
from echoplaned.security.pki_names import LeafNames
from tests.gateway.tls_parts import DAY, copy_files, make_pki

NOW = 1_900_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a directory with good files."""
    make_pki(tmp_path / "pki", NOW)
    copy_files(tmp_path / "pki" / "door", tmp_path / "tls")
    return tmp_path / "tls"


def check(folder: Path, now_s: float = NOW) -> ServerCertificate:
    """Read and check a directory."""
    return ServerCertificate.check(CertificateFiles.read(folder), now_s)


def test_good_files(folder: Path) -> None:
    """They are taken as they are, with their dates; no key is shown by accident."""
    found = check(folder)
    assert found.chain_pem == (folder / "cert.pem").read_text()
    assert found.not_after_s == NOW + DAY.total_seconds()
    assert found.not_before_s == NOW - 300
    assert "PRIVATE" not in repr(found)
    assert "PRIVATE" not in repr(CertificateFiles.read(folder))


def other_pair(folder: Path) -> None:
    """Put another pair's key there."""
    make_pki(folder.parent / "other", NOW)
    (folder / "key.pem").write_bytes((folder.parent / "other" / "door" / "key.pem").read_bytes())


def client_only(folder: Path) -> None:
    """Put a client's pair there."""
    pki = make_pki(folder.parent / "other", NOW)
    copy_files(pki.issue(LeafNames.parse("alice", "client"), NOW, DAY), folder)


def ca_first(folder: Path) -> None:
    """Put the CA before the certificate."""
    ca = (folder.parent / "pki" / "ca" / "cert.pem").read_bytes()
    (folder / "cert.pem").write_bytes(ca + (folder / "cert.pem").read_bytes())


def unknown_curve(folder: Path) -> None:
    """Put the certificate of a key there whose curve no library knows."""
    der = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).public_bytes(Encoding.DER)
    p_256, nobodys = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
    assert der.count(p_256) == 1
    body = base64.encodebytes(der.replace(p_256, nobodys)).decode()
    (folder / "cert.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")


def cut(name: str) -> Callable[[Path], None]:
    """Half-write a file."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def pipe(folder: Path) -> None:
    """Put a named pipe there, to whose open a writer would have to come."""
    (folder / "key.pem").unlink()
    os.mkfifo(folder / "key.pem")


def closed_form(folder: Path) -> None:
    """Encrypt the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "key.pem").unlink(), "key.pem cannot be read: No such file"),
        (lambda folder: (folder / "cert.pem").unlink(), "cert.pem cannot be read: No such file"),
        (lambda folder: (folder / "cert.pem").write_bytes(b""), "cert.pem holds no whole certificate"),
        (lambda folder: (folder / "cert.pem").write_bytes(b"\xff\xfe"), "cert.pem holds no whole certificate"),
        (lambda folder: (folder / "key.pem").write_bytes(b"\xff\xfe"), "key.pem holds no whole private key"),
        (lambda folder: (folder / "key.pem").write_bytes(b" " * 300_000), "larger than"),
        (cut("cert.pem"), "cert.pem holds no whole certificate"),
        (cut("key.pem"), "key.pem holds no whole private key"),
        (other_pair, "key.pem is not the key of the certificate in cert.pem: they are of two pairs"),
        (unknown_curve, "key.pem is not the key of the certificate in cert.pem"),
        (ca_first, "put the server's own certificate first"),
        (client_only, "names no host"),
        (closed_form, "key.pem is encrypted"),
        (pipe, "key.pem is not a file"),
    ],
)
def test_bad_files(folder: Path, change: Callable[[Path], object], said: str) -> None:
    """Each is refused with its file and what is wrong, at once."""
    change(folder)
    with pytest.raises(CertificateRefusedError, match=said):
        check(folder)


def test_dates(folder: Path) -> None:
    """Before its begin and from its end on it is refused."""
    with pytest.raises(CertificateRefusedError, match="expired at 2030-"):
        check(folder, NOW + DAY.total_seconds())
    with pytest.raises(CertificateRefusedError, match="is not valid before 2030-"):
        check(folder, NOW - 301)


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), ""),
        (lambda: rsa.generate_private_key(65537, 2048), ""),
        (lambda: rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"),  # noqa: S505 - refused
        (lambda: ec.generate_private_key(ec.SECP256K1()), "on the curve secp256k1"),
        (ed25519.Ed25519PrivateKey.generate, "neither an EC nor an RSA key"),
    ],
)
def test_keys_that_envoy_takes(tmp_path: Path, make: Callable[[], Key], said: str) -> None:
    """The kinds of keys that Envoy serves with, from whatever CA; what it would refuse is refused before."""
    key, name = make(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("x.test")]), critical=False)
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    signed = builder.add_extension(uses, critical=False).sign(
        key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )
    (tmp_path / "cert.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if said:
        with pytest.raises(CertificateRefusedError, match=said):
            check(tmp_path)
    else:
        assert check(tmp_path).not_before_s == NOW
