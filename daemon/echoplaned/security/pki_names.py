"""Names in certificates of the development PKI, checked where they enter."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self, TypeAlias

MAX_NAMES: Final = 100
"""Of one certificate."""

_MAX_DNS: Final = 253
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DNS: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
CA_NAME: Final = "ca"

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class PkiError(ValueError):
    """The development PKI cannot do what was asked; the text says why, and what to do."""


class CertificateRole(StrEnum):
    """What the owner of a certificate may do; the first part of its SPIFFE id.

    VIEWER reads, CLIENT calls models, OPERATOR loads and updates them, ADMIN does everything, GATEWAY serves callers.
    """

    VIEWER = "viewer"
    CLIENT = "client"
    OPERATOR = "operator"
    ADMIN = "admin"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class LeafNames:
    """What a certificate says of its owner.

    Attributes:
        name: short name, also of its directory.
        role: first part of its SPIFFE id.
        dns: DNS names that it serves under; empty: none.
        ips: IP addresses that it serves under; empty: none.
    """

    name: str
    role: CertificateRole
    dns: tuple[str, ...] = ()
    ips: tuple[IpAddress, ...] = ()

    @property
    def is_server(self) -> bool:
        """Whether others connect to it."""
        return bool(self.dns or self.ips)

    @classmethod
    def parse(cls, name: str, role: str, dns: tuple[str, ...] = (), ips: tuple[str, ...] = ()) -> Self:
        """Check what a person wrote.

        Raises:
            PkiError: some of it is no name, or does not fit the role.
        """
        check_name(name)
        if role not in {*CertificateRole}:
            raise PkiError(f"--role {role!r} is no role: give one of {', '.join(CertificateRole)}")
        if len(dns) + len(ips) > MAX_NAMES:
            raise PkiError(f"one certificate has {MAX_NAMES} names at most: issue several")
        names = tuple(dict.fromkeys(_parse_dns(each) for each in dns))
        addresses = tuple(dict.fromkeys(_parse_ip(each) for each in ips))
        if role == CertificateRole.GATEWAY and not names and not addresses:
            raise PkiError(
                "a gateway's certificate needs the names that callers use: --dns NAME, --ip ADDRESS, each as often as needed"
            )
        return cls(name, CertificateRole(role), names, addresses)

    def uri(self, trust_domain: str) -> str:
        """Return its SPIFFE id."""
        return f"spiffe://{trust_domain}/{self.role}/{self.name}"


def check_name(name: str) -> None:
    """Refuse what cannot be a directory and a part of a SPIFFE id.

    Raises:
        PkiError: it is no name, or the CA's own.
    """
    if _NAME.fullmatch(name) is None:
        raise PkiError(f"{name!r} is no name: 1 to 63 of a-z, 0-9 and -, with neither a - first nor last")
    if name == CA_NAME:
        raise PkiError(f"{CA_NAME!r} is the CA's own directory: give another name")


def check_trust_domain(domain: str) -> None:
    """Refuse what is no trust domain of SPIFFE.

    Raises:
        PkiError: it is none.
    """
    if domain.startswith("spiffe:"):
        raise PkiError(f"--trust-domain {domain!r} is an id: give its domain alone, as example.org")
    if len(domain) > _MAX_DNS or _DOMAIN.fullmatch(domain) is None:
        raise PkiError(
            f"--trust-domain {domain!r} is none: lower-case words of a-z, 0-9, - and _ with dots, as example.org"
        )


def _parse_dns(text: str) -> str:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        pass
    else:
        raise PkiError(f"--dns {text!r} is an address: give it with --ip")
    if not text.isascii():
        raise PkiError(f"--dns {text!r} is not ASCII: write it as browsers send it, xn--...")
    if len(text) > _MAX_DNS or _DNS.fullmatch(text) is None:
        raise PkiError(
            f"--dns {text!r} is no host name: words of a-z, 0-9 and - with dots, the first may be *, without port and scheme"
        )
    return text.lower()


def _parse_ip(text: str) -> IpAddress:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise PkiError(f"--ip {text!r} is no IP address: write it as 192.0.2.1 or 2001:db8::1, without port") from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise PkiError(f"--ip {text!r} has a zone, which no certificate can name: leave it out from the %")
    return found
