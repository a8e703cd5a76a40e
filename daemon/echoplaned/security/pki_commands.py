"""``echoplaned pki init``, ``issue`` and ``rotate``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import cast

from echoplaned.security.pki_files import PkiDirectory
from echoplaned.security.pki_names import LeafNames, PkiError
from echoplaned.setting_paths import absolute

_MAX_DAYS = 3650.0


def run_pki(options: Mapping[str, object], now_s: float) -> Iterator[str]:
    """Do what a command line asks; yield the lines to print, each after it was done.

    Args:
        options: what ``command_line.parse`` made of it.
        now_s: seconds since the epoch.

    Raises:
        PkiError: it cannot be done; the text says why, and what to do.
        OSError: a file cannot be written.
    """
    try:
        folder = absolute(Path(str(options["folder"])))
    except ValueError as error:
        raise PkiError(f"the directory {error}") from error
    lifetime = _lifetime(options["days"])
    match options["pki_command"]:
        case "init":
            pki = PkiDirectory.create(folder, str(options["trust_domain"]), now_s, lifetime or timedelta(days=365))
            yield f"{folder}: CA of spiffe://{pki.authority.trust_domain}, valid until {pki.authority.expires:%Y-%m-%d %H:%M} UTC"
        case "issue":
            dns, ips = _texts(options["dns"]), _texts(options["ip"])
            names = LeafNames.parse(str(options["name"]), str(options["role"]), dns, ips)
            pki = PkiDirectory.open(folder)
            made = pki.issue(names, now_s, lifetime or timedelta(days=1))
            yield f"{made}: {_said(pki, names.name)}"
        case _:
            pki = PkiDirectory.open(folder)
            for name in _texts(options["names"]) or pki.names:
                pki.rotate(name, now_s, lifetime)
                yield f"{folder / name}: {_said(pki, name)}"


def _said(pki: PkiDirectory, name: str) -> str:
    leaf = pki.read(name)
    hosts = "".join(f", {each}" for each in (*leaf.names.dns, *leaf.names.ips))
    return f"{leaf.names.uri(pki.authority.trust_domain)}{hosts}, valid until {leaf.expires:%Y-%m-%d %H:%M} UTC"


def _lifetime(days: object) -> timedelta | None:
    if days is None:
        return None
    try:
        number = float(str(days))
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_DAYS:
        raise PkiError(f"--days {days} is no lifetime: give a number above 0 and up to {_MAX_DAYS:.0f}")
    return timedelta(days=number)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in cast("list[object] | None", value) or ())
