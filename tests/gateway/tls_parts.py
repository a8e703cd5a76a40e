"""Certificates for the gateway's tests, and callers that trust them."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from echoplaned.security.pki_files import PkiDirectory
from echoplaned.security.pki_names import LeafNames
from tests.gateway.gateway_stage import Answer

DAY = timedelta(days=1)
DOOR = LeafNames.parse("door", "gateway", ("localhost",), ("127.0.0.1", "::1"))


def make_pki(folder: Path, now_s: float | None = None, lifetime: timedelta = DAY) -> PkiDirectory:
    """Make a CA with a certificate of the gateway: ``FOLDER/door``."""
    now_s = time.time() if now_s is None else now_s
    pki = PkiDirectory.create(folder, "echoplane.test", now_s, timedelta(days=365))
    pki.issue(DOOR, now_s, lifetime)
    return pki


def copy_files(source: Path, target: Path) -> None:
    """Write a certificate's two files as other tools do: plain ones, each renamed into place."""
    target.mkdir(exist_ok=True)
    for name in ("key.pem", "cert.pem"):
        new = target / f".{name}"
        shutil.copyfile(source / name, new)
        new.replace(target / name)


def trusting(folder: Path) -> ssl.SSLContext:
    """Return a caller's context that trusts a PKI's CA alone."""
    context = ssl.create_default_context(cafile=str(folder / "ca" / "cert.pem"))
    context.set_alpn_protocols(["http/1.1"])
    return context


def serial_of(folder: Path) -> int:
    """Return the serial of the certificate in a directory."""
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).serial_number


def shown_serial(listening: str, context: ssl.SSLContext) -> int:
    """Shake hands anew; return the serial of the certificate that was shown."""
    host, _, port = listening.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        return int(str((tls.getpeercert() or {})["serialNumber"]), 16)


def ask_tls(listening: str, context: ssl.SSLContext, method: str, path: str, body: bytes | None = None) -> Answer:
    """Ask on a connection of its own."""
    with contextlib.closing(http.client.HTTPSConnection(listening, timeout=30.0, context=context)) as connection:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
