"""A server's certificate with its key, and whether a gateway can serve with them.

Needs the package ``cryptography``, which the extra ``tls`` installs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from echoplaned.gateway.options import CertificateRefusedError

CERTIFICATE_FILE: Final = "cert.pem"
KEY_FILE: Final = "key.pem"
_MAX_BYTES: Final = 256 * 1024
_MIN_RSA_BITS: Final = 2048
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_SERVER: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """What the two files hold, whatever that is.

    Attributes:
        chain: the certificate's file, bytes.
        key: the key's file, bytes.
    """

    chain: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> CertificateFiles:
        """Read both.

        Raises:
            CertificateRefusedError: one is missing, or not readable.
        """
        return cls(_read(folder / CERTIFICATE_FILE), _read(folder / KEY_FILE))


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate that fits its key, and the times between which it is valid.

    Attributes:
        chain_pem: it and its issuers, in PEM form.
        key_pem: its key in PEM form.
        not_before_s: begin of its validity, seconds since the epoch.
        not_after_s: end of it, seconds since the epoch.
    """

    chain_pem: str
    key_pem: str = field(repr=False)
    not_before_s: float
    not_after_s: float

    @classmethod
    def check(cls, files: CertificateFiles, now_s: float) -> ServerCertificate:
        """Return what the files hold, if it can be served with now.

        Raises:
            CertificateRefusedError: it cannot.
        """
        chain, key = _parse_chain(files.chain), _parse_key(files.key)
        _check_key(key)
        leaf = chain[0]
        if not _is_of(leaf, key):
            other = any(_is_of(each, key) for each in chain)
            advice = "put the server's own certificate first" if other else "they are of two pairs"
            raise CertificateRefusedError(
                f"{KEY_FILE} is not the key of the certificate in {CERTIFICATE_FILE}: {advice}"
            )
        _check_use(leaf)
        begin_s, end_s = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        if now_s >= end_s:
            raise CertificateRefusedError(f"the certificate in {CERTIFICATE_FILE} expired at {as_text(end_s)}")
        if now_s < begin_s:
            raise CertificateRefusedError(
                f"the certificate in {CERTIFICATE_FILE} is not valid before {as_text(begin_s)}"
            )
        return cls(files.chain.decode("ascii"), files.key.decode("ascii"), begin_s, end_s)


def as_text(moment_s: float) -> str:
    """Return a moment as people and programs read it."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: Path) -> bytes:
    try:
        # Not blocking: opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CertificateRefusedError(f"{path.name} is not a file")
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CertificateRefusedError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise CertificateRefusedError(f"{path.name} is larger than {_MAX_BYTES} bytes")
    return content


def _parse_chain(content: bytes) -> list[x509.Certificate]:
    try:
        content.decode("ascii")
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateRefusedError(
            f"{CERTIFICATE_FILE} holds no whole certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ) from error


def _parse_key(content: bytes) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        content.decode("ascii")
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise CertificateRefusedError(f"{KEY_FILE} is encrypted: give a key without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateRefusedError(f"{KEY_FILE} holds no whole private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateRefusedError(f"{KEY_FILE} is neither an EC nor an RSA key: Envoy serves with no other")
    return key


def _check_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Refuse what Envoy would refuse.

    Raises:
        CertificateRefusedError: the key is of another curve, or too short.
    """
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if not isinstance(key.curve, _CURVES):
            raise CertificateRefusedError(f"{KEY_FILE} is on the curve {key.curve.name}: use P-256, P-384 or P-521")
    elif key.key_size < _MIN_RSA_BITS:
        raise CertificateRefusedError(f"{KEY_FILE} is an RSA key of {key.key_size} bits: use {_MIN_RSA_BITS} or more")


def _is_of(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bool:
    """Whether a certificate is of that key.

    One whose own key is of an unknown kind is not.
    """
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _check_use(leaf: x509.Certificate) -> None:
    """Refuse what clients would refuse.

    Raises:
        CertificateRefusedError: it names no host, or is not for servers.
    """
    try:
        extensions = leaf.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [*names.get_values_for_type(x509.DNSName), *names.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        hosts = []
    except (ValueError, x509.DuplicateExtension) as error:
        raise CertificateRefusedError(f"{CERTIFICATE_FILE} has extensions that cannot be read") from error
    if not hosts:
        raise CertificateRefusedError(
            f"the certificate in {CERTIFICATE_FILE} names no host, so that no client accepts it: it needs a DNS name or an IP address"
        )
    try:
        uses = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not uses & _SERVER:
        raise CertificateRefusedError(f"the certificate in {CERTIFICATE_FILE} is for clients, not for servers")
