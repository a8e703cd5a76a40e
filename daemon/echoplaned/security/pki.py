"""A development PKI: a CA and what it signs, by one fixed profile.

P-256; a CA of path length 0; leaves with exactly one URI, a SPIFFE id (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from echoplaned.security.pki_names import CertificateRole, LeafNames, PkiError, check_trust_domain

CLOCKS_APART: Final = timedelta(minutes=5)
"""A certificate is valid from so long ago: other machines' clocks may be behind."""

_SCHEME: Final = "spiffe://"
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its key, in PEM form.

    Attributes:
        certificate: the certificate.
        key: its private key, not encrypted.
    """

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuedLeaf:
    """What a leaf says, read back from its certificate.

    Attributes:
        names: what it says of its owner.
        lifetime: how long it is valid from its issue on.
        expires: end of its validity.
    """

    names: LeafNames
    lifetime: timedelta
    expires: datetime

    @classmethod
    def read(cls, certificate: bytes, trust_domain: str) -> Self:
        """Read it.

        Raises:
            PkiError: it is none that this PKI issued.
        """
        try:
            found = x509.load_pem_x509_certificate(certificate)
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound) as error:
            raise PkiError("it is no certificate of this PKI") from error
        uri = ", ".join(names.get_values_for_type(x509.UniformResourceIdentifier))
        prefix = f"{_SCHEME}{trust_domain}/"
        role, _, name = uri.removeprefix(prefix).partition("/")
        if not uri.startswith(prefix) or role not in {*CertificateRole}:
            raise PkiError(f"its id {uri!r} is none of this PKI, which are {prefix}ROLE/NAME")
        dns = tuple(names.get_values_for_type(x509.DNSName))
        ips = tuple(str(each) for each in names.get_values_for_type(x509.IPAddress))
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
        return cls(LeafNames.parse(name, role, dns, ips), end - begin - CLOCKS_APART, end)


class CertificateAuthority:
    """Signs leaves with the key of a CA.

    Args:
        pair: its certificate and key.

    Raises:
        PkiError: they are none of this PKI.
    """

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair
        try:
            self._certificate = x509.load_pem_x509_certificate(pair.certificate)
            key = load_pem_private_key(pair.key, password=None)
            names = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise PkiError("the CA's files are none of `echoplaned pki init`") from error
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise PkiError("the CA's key is not that of its certificate")
        self._key = key
        self.trust_domain = uris[0].removeprefix(_SCHEME) if len(uris) == 1 else ""
        check_trust_domain(self.trust_domain)

    @classmethod
    def create(cls, trust_domain: str, now_s: float, lifetime: timedelta) -> Self:
        """Make a CA of its own root.

        Raises:
            PkiError: the trust domain is none.
        """
        check_trust_domain(trust_domain)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Echoplane development CA of {trust_domain}"[:64])]
        )
        now = datetime.fromtimestamp(now_s, UTC)
        builder = _builder(key.public_key(), name, name, (now, lifetime))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage("key_cert_sign"), critical=True)
        uri = x509.UniformResourceIdentifier(f"{_SCHEME}{trust_domain}")
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        return cls(_pair(builder.sign(key, hashes.SHA256()), key))

    @property
    def expires(self) -> datetime:
        """End of its validity."""
        return self._certificate.not_valid_after_utc

    def issue(self, names: LeafNames, now_s: float, lifetime: timedelta) -> KeyPair:
        """Sign a new key; the certificate ends with the CA's at the latest.

        Raises:
            PkiError: the CA's own certificate has expired.
        """
        now = datetime.fromtimestamp(now_s, UTC)
        if now >= self.expires:
            raise PkiError(
                f"the CA expired at {self.expires:%Y-%m-%d %H:%M} UTC: make another with `echoplaned pki init`, in another directory"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.name)])
        builder = _builder(
            key.public_key(), subject, self._certificate.subject, (now, min(lifetime, self.expires - now))
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage("digital_signature"), critical=True)
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names.is_server else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        builder = builder.add_extension(_subject_names(names, self.trust_domain), critical=False)
        own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        builder = builder.add_extension(authority, critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, valid: tuple[datetime, timedelta]
) -> x509.CertificateBuilder:
    now, lifetime = valid
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCKS_APART).not_valid_after(now + lifetime)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(which: str) -> x509.KeyUsage:
    """Return a key usage of one bit."""
    return x509.KeyUsage(*(name == which for name in _USAGES))


def _subject_names(names: LeafNames, trust_domain: str) -> x509.SubjectAlternativeName:
    uri = x509.UniformResourceIdentifier(names.uri(trust_domain))
    hosts = [x509.DNSName(each) for each in names.dns]
    return x509.SubjectAlternativeName([uri, *hosts, *(x509.IPAddress(each) for each in names.ips)])


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
