"""Takes the gateway's certificate from a directory, whenever it is a good one.

Envoy reads one file below the state directory, which is renamed into place with certificate and key in it. So it never sees half of a
change, and nothing that its callers would refuse; an Envoy that is started again has the last good certificate, whatever the directory
holds by then.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from echoplaned.gateway.certificate import CertificateFiles, ServerCertificate, as_text
from echoplaned.gateway.options import CertificateRefusedError
from echoplaned.ports.gateway import GATEWAY_CERTIFICATE
from echoplaned.runtime.faults import contain

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_WARN_S: Final = 7 * _DAY_S
_WARN_SHARE: Final = 1 / 3
_RESOURCE_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_LOOKS_BEFORE_ALARM: Final = 2
"""Who writes one file after the other is between the two at one look, and done at the next."""


@dataclass(frozen=True, slots=True)
class WatchedCertificate:
    """Where the gateway's certificate comes from and goes to.

    Attributes:
        folder: with ``cert.pem`` and ``key.pem``, whoever writes them.
        secret: file that Envoy reads.
    """

    folder: Path
    secret: Path


class CertificateWatch:
    """Keeps Envoy's certificate that of a directory.

    ``take`` must come before Envoy is served its listener, ``run`` runs beside the loop.

    Args:
        watched: the directory, and Envoy's file.
        wall: seconds since the epoch, as the machine's clock has them.
    """

    def __init__(self, watched: WatchedCertificate, wall: Callable[[], float]) -> None:
        self._watched = watched
        self._wall = wall
        self._files: CertificateFiles | None = None
        self._used: ServerCertificate | None = None
        self._problem = ""
        self._looks = 0

    @property
    def expires_s(self) -> float:
        """When the certificate in use expires, seconds since the epoch; 0: none is in use."""
        return self._used.not_after_s if self._used is not None else 0.0

    @property
    def alarm(self) -> str:
        """What an operator should look at; empty: nothing."""
        if self._used is None:
            return f"the gateway has no certificate: {self._problem}" if self._looks >= _LOOKS_BEFORE_ALARM else ""
        end_s, folder = self._used.not_after_s, self._watched.folder
        left_s = end_s - self._wall()
        told = (
            f"what is in {folder} now is not used: {self._problem}"
            if self._looks >= _LOOKS_BEFORE_ALARM
            else f"put new files into {folder}, as `echoplaned pki rotate` does; no restart is needed"
        )
        if left_s <= 0:
            return f"the gateway's certificate expired at {as_text(end_s)}, so that callers refuse it; {told}"
        if left_s < min(_WARN_S, _WARN_SHARE * (end_s - self._used.not_before_s)):
            return f"the gateway's certificate expires in {_duration(left_s)}, at {as_text(end_s)}; {told}"
        if self._looks >= _LOOKS_BEFORE_ALARM:
            return f"the gateway goes on with its certificate, which is valid until {as_text(end_s)}; {told}"
        return ""

    def check(self) -> None:
        """See whether what the directory holds now will do; nothing is written.

        Raises:
            CertificateRefusedError: it cannot.
        """
        ServerCertificate.check(CertificateFiles.read(self._watched.folder), self._wall())

    def take(self) -> None:
        """Read the directory and write Envoy's file.

        Raises:
            CertificateRefusedError: it cannot be served with what is there.
            OSError: the file cannot be written.
        """
        files = CertificateFiles.read(self._watched.folder)
        if files == self._files and not self._problem:
            return
        found = ServerCertificate.check(files, self._wall())
        if found != self._used:
            _write(self._watched.secret, found)
            log.info("gateway.certificate_taken", expires=as_text(found.not_after_s))
        self._files, self._used, self._problem, self._looks = files, found, "", 0

    async def run(self) -> None:
        """Look at the directory until cancelled.

        What is not good leaves everything as it is.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            with contain(lambda error: self._refuse(f"{type(error).__name__}: {error}")):
                try:
                    await asyncio.to_thread(self.take)
                except (CertificateRefusedError, OSError) as error:
                    self._refuse(str(error))

    def _refuse(self, problem: str) -> None:
        self._looks += 1
        if problem != self._problem:
            log.warning("gateway.certificate_refused", problem=problem, folder=str(self._watched.folder))
        self._problem = problem


def _write(path: Path, certificate: ServerCertificate) -> None:
    """Write Envoy's file whole, and rename it into place: Envoy is told of moves."""
    secret = {
        "@type": _RESOURCE_TYPE,
        "name": GATEWAY_CERTIFICATE,
        "tls_certificate": {
            "certificate_chain": {"inline_string": certificate.chain_pem},
            "private_key": {"inline_string": certificate.key_pem},
        },
    }
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"resources": [secret]}, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _duration(seconds: float) -> str:
    for unit_s, unit in ((_DAY_S, "days"), (_HOUR_S, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
