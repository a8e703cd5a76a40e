"""The development PKI's directory: the CA, and one directory a certificate.

``DIR/NAME/{key,cert,ca}.pem`` are links through ``DIR/NAME/.current``, a link to the directory of the newest issue. A rotation writes
another one and renames that one link: who reads sees the old files or the new ones, and who watches ``DIR/NAME`` for moves, as Envoy
does, is told once. It is the way in which Kubernetes mounts secrets.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from echoplaned.security.pki import CertificateAuthority, IssuedLeaf, KeyPair
from echoplaned.security.pki_names import CA_NAME, LeafNames, PkiError, check_name, check_trust_domain

_KEY, _CERTIFICATE, _CA = "key.pem", "cert.pem", "ca.pem"
_CURRENT: Final = ".current"
_ISSUE: Final = ".issue-"
_NEW: Final = ".new-"
_KEPT: Final = 2
"""Issues of a certificate that stay: who has just read the key of the last but one still finds its certificate."""


@dataclass(frozen=True, slots=True)
class PkiDirectory:
    """A development PKI on disk.

    Attributes:
        folder: where it is.
        authority: its CA.
    """

    folder: Path
    authority: CertificateAuthority

    @classmethod
    def create(cls, folder: Path, trust_domain: str, now_s: float, lifetime: timedelta) -> Self:
        """Make a CA in a directory that is empty or not there.

        Raises:
            PkiError: the trust domain is none, or there is something already.
            OSError: it cannot be written.
        """
        check_trust_domain(trust_domain)
        if (folder / CA_NAME).exists():
            raise PkiError(
                f"{folder} has a CA already: `echoplaned pki issue` signs with it, `pki rotate` renews what it signed; for another one"
                " give another directory, or remove this one"
            )
        if folder.exists() and any(folder.iterdir()):
            raise PkiError(f"{folder} is not empty: give a directory that is empty or not there yet")
        authority = CertificateAuthority.create(trust_domain, now_s, lifetime)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with _whole(folder, folder / CA_NAME) as made:
            _write(made, authority.pair)
        return cls(folder, authority)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read one that is there.

        Raises:
            PkiError: there is none.
        """
        ca = folder / CA_NAME
        try:
            pair = KeyPair((ca / _CERTIFICATE).read_bytes(), (ca / _KEY).read_bytes())
        except OSError as error:
            raise PkiError(
                f"there is no CA in {folder} ({error.strerror}): `echoplaned pki init DIR --trust-domain D` makes one"
            ) from error
        return cls(folder, CertificateAuthority(pair))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the certificates that were issued."""
        found = (each.name for each in self.folder.iterdir() if (each / _CURRENT).is_symlink())
        return tuple(sorted(found))

    def issue(self, names: LeafNames, now_s: float, lifetime: timedelta) -> Path:
        """Sign a new certificate; return its directory.

        Raises:
            PkiError: there is one of that name.
            OSError: it cannot be written.
        """
        target = self.folder / names.name
        with self._locked():
            if target.exists() or target.is_symlink():
                raise PkiError(
                    f"{target} is there already: `echoplaned pki rotate {names.name}` renews it with the names that it has; for other names"
                    " remove the directory first"
                )
            with _whole(self.folder, target) as made:
                self._add_issue(made, self.authority.issue(names, now_s, lifetime))
                for name in (_KEY, _CERTIFICATE, _CA):
                    (made / name).symlink_to(f"{_CURRENT}/{name}")
        return target

    def rotate(self, name: str, now_s: float, lifetime: timedelta | None) -> IssuedLeaf:
        """Sign a certificate anew, with a new key and the names that it has.

        Args:
            name: of the certificate.
            now_s: seconds since the epoch.
            lifetime: how long it is valid; None: as long as the one before was.

        Raises:
            PkiError: there is none of that name.
            OSError: it cannot be written; the one before stays.
        """
        check_name(name)
        target = self.folder / name
        with self._locked():
            if not (target / _CURRENT).is_symlink():
                raise PkiError(
                    f"there is no certificate {name!r} in {self.folder}: `echoplaned pki issue {name}` makes one"
                )
            before = self._read(target)
            self._add_issue(target, self.authority.issue(before.names, now_s, lifetime or before.lifetime))
            return self._read(target)

    def read(self, name: str) -> IssuedLeaf:
        """Return what a certificate says.

        Raises:
            PkiError: it is none of this PKI.
        """
        return self._read(self.folder / name)

    def _read(self, target: Path) -> IssuedLeaf:
        try:
            return IssuedLeaf.read((target / _CERTIFICATE).read_bytes(), self.authority.trust_domain)
        except (OSError, PkiError) as error:
            raise PkiError(f"{target / _CERTIFICATE} cannot be renewed: {error}") from error

    def _add_issue(self, target: Path, pair: KeyPair) -> None:
        """Write an issue whole, and then let the link say so."""
        made = Path(tempfile.mkdtemp(prefix=_ISSUE, dir=target))
        try:
            _write(made, pair, self.authority.pair.certificate)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        link = target / f"{_NEW}{made.name.removeprefix(_ISSUE)}"
        link.symlink_to(made.name)
        link.replace(target / _CURRENT)
        _sync(target)
        issues = sorted(target.glob(f"{_ISSUE}*"), key=lambda path: (path == made, path.stat().st_mtime_ns))
        for old in issues[:-_KEPT]:
            shutil.rmtree(old)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time write."""
        descriptor = os.open(self.folder / CA_NAME, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _whole(folder: Path, target: Path) -> Iterator[Path]:
    """Give a new directory that gets its name when it is whole.

    Nothing is left where that fails.
    """
    made = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder))
    try:
        yield made
        made.rename(target)
        _sync(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _write(folder: Path, pair: KeyPair, authority: bytes | None = None) -> None:
    contents = {_KEY: pair.key, _CERTIFICATE: pair.certificate, **({} if authority is None else {_CA: authority})}
    for name, content in contents.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
