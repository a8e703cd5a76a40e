"""The development PKI: its profile by cryptography and by openssl, real handshakes, rotation, and what is refused."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from echoplaned import __main__ as root
from echoplaned.security.pki import CLOCKS_APART, CertificateAuthority
from echoplaned.security.pki_files import PkiDirectory
from echoplaned.security.pki_names import LeafNames, PkiError

DOMAIN = "echoplane.test"
NOW = 1_900_000_000.0
DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a PKI with a gateway's certificate and a client's."""
    where = tmp_path / "pki"
    assert root.main(["pki", "init", str(where), "--trust-domain", DOMAIN]) == 0
    names = ["--dns", "localhost", "--dns", "*.Echoplane.test", "--ip", "127.0.0.1", "--ip", "::1"]
    assert root.main(["pki", "issue", "door", "--role", "gateway", *names, "--dir", str(where)]) == 0
    assert root.main(["pki", "issue", "alice", "--role", "client", "--dir", str(where)]) == 0
    return where


def read(folder: Path, name: str) -> x509.Certificate:
    """Read a certificate."""
    return x509.load_pem_x509_certificate((folder / name / "cert.pem").read_bytes())


def test_the_profile(folder: Path) -> None:
    """P-256; the CA signs leaves alone; a leaf has one SPIFFE id, the hosts that were asked for, a day, and the uses of its part."""
    ca, door, alice = (read(folder, name) for name in ("ca", "door", "alice"))
    assert all(isinstance(each.public_key(), ec.EllipticCurvePublicKey) for each in (ca, door, alice))
    assert {each.public_key().curve.name for each in (ca, door, alice)} == {"secp256r1"}
    limits = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (
        *(True, True),
        *(False, False),
    )
    names = door.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://{DOMAIN}/gateway/door"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "*.echoplane.test"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    uses = {
        n: set(c.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        for n, c in (("d", door), ("a", alice))
    }
    assert uses == {
        "d": {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
        "a": {ExtendedKeyUsageOID.CLIENT_AUTH},
    }
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    for leaf in (door, alice):
        assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == own
        assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
        assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == DAY + CLOCKS_APART
        assert leaf.not_valid_before_utc <= datetime.now(UTC) - CLOCKS_APART + timedelta(seconds=1)


def test_cryptography_verifies(folder: Path) -> None:
    """Its verifier, which follows the rules of the web, builds a chain for a server's name and for a client."""
    store = verification.Store([read(folder, "ca")])
    builder = verification.PolicyBuilder().store(store)
    chain = builder.build_server_verifier(x509.DNSName("a.echoplane.test")).verify(read(folder, "door"), [])
    assert len(chain) == 2
    client = builder.build_client_verifier().verify(read(folder, "alice"), [])
    assert [each.value for each in client.subjects or ()] == [f"spiffe://{DOMAIN}/client/alice"]
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere.test")).verify(read(folder, "door"), [])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_openssl_verifies(folder: Path) -> None:
    """The openssl command accepts the chains, for the purposes and names that they are for, and for no others."""

    def verify(name: str, *more: str) -> int:
        chain = ["-CAfile", str(folder / name / "ca.pem"), str(folder / name / "cert.pem")]
        command = ["openssl", "verify", "-x509_strict", *more, *chain]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode

    assert verify("door", "-purpose", "sslserver", "-verify_hostname", "localhost") == 0
    assert verify("door", "-purpose", "sslclient", "-verify_ip", "::1") == 0
    assert verify("alice", "-purpose", "sslclient") == 0
    assert verify("alice", "-purpose", "sslserver") != 0
    assert verify("door", "-verify_hostname", "elsewhere.test") != 0


def handshake(folder: Path, host: str) -> str:
    """Connect as alice to a server with the door's certificate; return the serial that the server showed."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "door" / "cert.pem", folder / "door" / "key.pem")
    serving.load_verify_locations(folder / "door" / "ca.pem")
    serving.verify_mode = ssl.CERT_REQUIRED
    calling = ssl.create_default_context(cafile=str(folder / "alice" / "ca.pem"))
    calling.load_cert_chain(folder / "alice" / "cert.pem", folder / "alice" / "key.pem")
    seen: list[object] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with suppress(ssl.SSLError, OSError), serving.wrap_socket(connection, server_side=True) as tls:
                seen.append(tls.getpeercert())
                tls.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=20) as plain,
                calling.wrap_socket(plain, server_hostname=host) as tls,
            ):
                assert tls.recv(1) == b"x"
                shown = tls.getpeercert()
        finally:
            thread.join(20)
    assert f"spiffe://{DOMAIN}/client/alice" in str(seen)
    return str(dict(shown or {})["serialNumber"])


def test_a_real_handshake(folder: Path) -> None:
    """Both sides prove who they are, by name and by address; another name is refused."""
    assert handshake(folder, "localhost") == handshake(folder, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'elsewhere\.test'"):
        handshake(folder, "elsewhere.test")


def test_rotation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, serials and dates are new, names and lifetime as before; two issues stay; nobody reads a half."""
    before, key = read(folder, "door"), (folder / "door" / "key.pem").read_bytes()
    stop = threading.Event()
    torn: list[bool] = []

    def look() -> Iterator[bool]:
        while not stop.is_set():
            files = [folder / "door" / name for name in ("key.pem", "cert.pem", "ca.pem")]
            yield all(path.read_bytes().endswith(b"-----\n") for path in files)

    reader = threading.Thread(target=lambda: torn.extend(whole for whole in look() if not whole))
    reader.start()
    for _ in range(5):
        assert root.main(["pki", "rotate", "door", "--dir", str(folder)]) == 0
    stop.set()
    reader.join()
    assert not torn
    after = read(folder, "door")
    assert after.serial_number != before.serial_number
    assert (folder / "door" / "key.pem").read_bytes() != key
    kinds = (x509.SubjectAlternativeName, x509.ExtendedKeyUsage)
    assert [after.extensions.get_extension_for_class(k).value for k in kinds] == [
        before.extensions.get_extension_for_class(k).value for k in kinds
    ]
    assert after.not_valid_after_utc - after.not_valid_before_utc == DAY + CLOCKS_APART
    assert len(list((folder / "door").glob(".issue-*"))) == 2
    assert handshake(folder, "localhost")
    alice = read(folder, "alice").serial_number
    capsys.readouterr()
    assert root.main(["pki", "rotate", "--dir", str(folder), "--days", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert read(folder, "alice").serial_number != alice
    assert (
        read(folder, "alice").not_valid_after_utc - read(folder, "alice").not_valid_before_utc == 2 * DAY + CLOCKS_APART
    )


def test_files_are_private(folder: Path) -> None:
    """Directories 0700, files 0600, nothing half made beside them."""
    for path in [folder, *folder.rglob("*")]:
        assert path.is_symlink() or path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert not [path for path in folder.rglob("*") if path.name.startswith(".new-")]
    assert sorted(path.name for path in folder.iterdir()) == ["alice", "ca", "door"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init", "{}", "--trust-domain", DOMAIN], "has a CA already"),
        (["init", "{}/door", "--trust-domain", DOMAIN], "is not empty"),
        (["init", "{}/x", "--trust-domain", "spiffe://a"], "give its domain alone"),
        (["init", "{}/x", "--trust-domain", "A.test"], "lower-case words"),
        (["init", "{}/x", "--trust-domain", ""], "lower-case words"),
        (["init", "{}/x", "--trust-domain", DOMAIN, "--days", "0"], "is no lifetime"),
        (["init", "{}/x", "--trust-domain", DOMAIN, "--days", "nan"], "is no lifetime"),
        (["issue", "door", "--role", "admin", "--dir", "{}"], "`echoplaned pki rotate door` renews it"),
        (["issue", "ca", "--role", "admin", "--dir", "{}"], "the CA's own directory"),
        (["issue", "../x", "--role", "admin", "--dir", "{}"], "is no name"),
        (["issue", "Ü", "--role", "admin", "--dir", "{}"], "is no name"),
        (["issue", "x", "--role", "king", "--dir", "{}"], "viewer, client, operator, admin, gateway"),
        (["issue", "x", "--role", "gateway", "--dir", "{}"], "--dns NAME"),
        (["issue", "x", "--role", "gateway", "--dns", "10.0.0.1", "--dir", "{}"], "give it with --ip"),
        (["issue", "x", "--role", "gateway", "--dns", "http://x", "--dir", "{}"], "is no host name"),
        (["issue", "x", "--role", "gateway", "--dns", "x:80", "--dir", "{}"], "is no host name"),
        (["issue", "x", "--role", "gateway", "--dns", "a.*.b", "--dir", "{}"], "is no host name"),
        (["issue", "x", "--role", "gateway", "--dns", "ü.test", "--dir", "{}"], "xn--"),
        (["issue", "x", "--role", "gateway", "--ip", "10.0.0.1:1", "--dir", "{}"], "is no IP address"),
        (["issue", "x", "--role", "gateway", "--ip", "fe80::1%eth0", "--dir", "{}"], "has a zone"),
        (["issue", "x", "--role", "admin", "--dir", "{}/door"], "`echoplaned pki init DIR"),
        (["rotate", "nobody", "--dir", "{}"], "`echoplaned pki issue nobody`"),
        (["rotate", "..", "--dir", "{}"], "is no name"),
    ],
)
def test_what_is_refused(folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and what to do; nothing is written, nothing of what was there changes."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert root.main(["pki", *(each.replace("{}", str(folder)) for each in arguments)]) == 1
    assert said in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_leaf_ends_with_its_ca(tmp_path: Path) -> None:
    """No certificate outlives the CA's; an expired CA signs nothing; foreign certificates are not renewed."""
    pki = PkiDirectory.create(tmp_path / "pki", DOMAIN, NOW, DAY)
    names = LeafNames.parse("door", "gateway", ("localhost",))
    pki.issue(names, NOW + 3600, timedelta(days=30))
    assert pki.read("door").expires == pki.authority.expires
    with pytest.raises(PkiError, match="the CA expired at"):
        pki.rotate("door", NOW + 2 * DAY.total_seconds(), None)
    other = CertificateAuthority.create("other.test", NOW, DAY).issue(names, NOW, DAY)
    (tmp_path / "pki" / "door" / "cert.pem").write_bytes(other.certificate)
    with pytest.raises(PkiError, match="cannot be renewed"):
        pki.rotate("door", NOW, None)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be written, the certificate before stays whole, and of a new one nothing is there."""
    pki = PkiDirectory.create(tmp_path / "pki", DOMAIN, NOW, DAY)
    pki.issue(LeafNames.parse("door", "gateway", ("localhost",)), NOW, DAY)
    before = (tmp_path / "pki" / "door" / "cert.pem").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("echoplaned.security.pki_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        pki.issue(LeafNames.parse("bob", "client"), NOW, DAY)
    with pytest.raises(OSError, match="No space"):
        pki.rotate("door", NOW, None)
    assert (tmp_path / "pki" / "door" / "cert.pem").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "pki").iterdir()) == ["ca", "door"]
    assert len(list((tmp_path / "pki" / "door").iterdir())) == 5


@pytest.mark.long
def test_without_the_package(tmp_path: Path) -> None:
    """It says what to install, for the command and for the gateway alike, and the daemon without TLS does without."""
    hide = "import sys; sys.modules['cryptography'] = None; from echoplaned.__main__ import main; sys.exit(main(sys.argv[1:]))"
    state = ["--state-dir", str(tmp_path / "s"), "--gateway-listen", "127.0.0.1:8480"]
    for arguments, code in (
        (["pki", "init", str(tmp_path / "p"), "--trust-domain", DOMAIN], 1),
        (["check", *state, "--gateway-tls-dir", str(tmp_path)], 2),
        (["check", *state], 0),
    ):
        command = [sys.executable, "-c", hide, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == code, done.stderr
        assert ("pip install 'echoplaned[tls]'" in done.stderr) == (code != 0), done.stderr
