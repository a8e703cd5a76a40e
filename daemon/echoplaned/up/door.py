"""The gateway as callers find it: its URL, and what verifies its certificate."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

_CA_FILES: Final = ("ca.pem", "cert.pem")
"""Of the TLS directory: what ``echoplaned pki`` puts beside a certificate, and the certificate itself, which may be its own issuer."""
_SHAKE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway is, and how sure that is.

    Attributes:
        listening: ``HOST:PORT`` that it listens on.
        host: host that callers name; by TLS one of the certificate's.
        is_tls: whether it speaks TLS, and nothing else.
        context: believes its certificate; None: it speaks without TLS, or nothing here believes it.
        ca_file: file that makes it believed; None: the system does already.
        problem: why nothing here believes it; empty: it is believed, or there is no TLS.
    """

    listening: str
    host: str
    is_tls: bool = False
    context: ssl.SSLContext | None = None
    ca_file: Path | None = None
    problem: str = ""

    @classmethod
    def plain(cls, listening: str) -> Door:
        """Return a door without TLS."""
        return cls(listening, listening.rpartition(":")[0])

    @classmethod
    def unbelieved(cls, listening: str, problem: str) -> Door:
        """Return a door by TLS whose certificate nothing here believes."""
        return replace(cls.plain(listening), is_tls=True, problem=problem)

    @property
    def url(self) -> str:
        """Base URL for callers."""
        return f"{'https' if self.is_tls else 'http'}://{self.host}:{self.listening.rpartition(':')[2]}"

    @property
    def dialled(self) -> tuple[str, int]:
        """Address to connect to from this machine."""
        host, _, port = self.listening.rpartition(":")
        host = host.strip("[]")
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)  # noqa: S104 - compared, not bound

    @property
    def resolve(self) -> str:
        """What curl's ``--resolve`` needs; empty: nothing.

        Callers name an address then, or localhost.
        """
        address, port = self.dialled
        return "" if self.host == "localhost" or _is_ip(self.host) else f"{self.host}:{port}:{address}"


async def find_tls_door(listening: str, tls_dir: Path | None) -> Door:
    """Shake hands with the gateway, and return it with what believes its certificate.

    The system first, then the files of the TLS directory. No request is sent.

    Raises:
        OSError: there was no handshake, whatever is believed.
    """
    plain = Door.plain(listening)
    problem = ""
    for ca_file in (None, *((tls_dir / name for name in _CA_FILES) if tls_dir is not None else ())):
        try:
            context = await asyncio.to_thread(_trusting, ca_file)
        except OSError:  # there is no such file, or it holds no certificate
            continue
        try:
            host = _host_of(await _shown_names(plain, context), plain)
        except ssl.SSLCertVerificationError as error:
            problem = error.verify_message
            continue
        if not host:
            problem = "it names no host that callers can use"
            break
        return Door(listening, host, is_tls=True, context=context, ca_file=ca_file)
    return Door.unbelieved(listening, problem)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts a file alone; without one, as the system.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file)
    # Callers would refuse it: Python trusts a certificate that is not its own issuer as one since 3.13 only.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _shown_names(door: Door, context: ssl.SSLContext) -> list[str]:
    """Return the names of the certificate that the gateway shows.

    Its issuer has been believed by then.

    Raises:
        OSError: it is not believed, nobody listens, or the gateway says nothing.
    """
    context.check_hostname = False  # its names are what is asked for; the issuer is verified all the same
    try:
        async with asyncio.timeout(_SHAKE_S):
            address, port = door.dialled
            _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=address)
            found = writer.get_extra_info("peercert") or {}
            writer.close()
    finally:
        context.check_hostname = True
    return [str(name) for kind, name in found.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}]


def _host_of(names: list[str], door: Door) -> str:
    """Return the host to name; empty: there is none.

    It is the address itself, localhost, or another name of the certificate.
    """
    address = ipaddress.ip_address(door.dialled[0])
    ips = {ipaddress.ip_address(name) for name in names if _is_ip(name)}
    if address in ips:
        return f"[{address}]" if address.version == 6 else str(address)
    hosts = [name for name in names if not _is_ip(name) and "*" not in name]
    if address.is_loopback and "localhost" in hosts:
        return "localhost"
    return next((name for name in hosts if name != "localhost"), "")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
