"""Origins of web pages, as browsers write them in the header ``origin``."""

from __future__ import annotations

import re
from typing import Final

EVERY_ORIGIN: Final = "*"
"""Stands for every page of the web."""

# https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
)
_USUAL_PORTS: Final = {"http": "80", "https": "443"}


def check_origin(text: str) -> str:
    """Return an origin that a browser can send, or ``*``.

    A browser's is compared character by character, so one that is written in another way would never match.

    Raises:
        ValueError: no browser sends it.
    """
    if text == EVERY_ORIGIN:
        return text
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r:.200} is no origin: write it in lower case and without a path, as https://app.example"
        )
    port = found["port"]
    if port is not None and (int(port) > 65535 or port != str(int(port)) or port == _USUAL_PORTS.get(found["scheme"])):
        raise ValueError(f"{text!r:.200} has a port that browsers leave out, or that there is not")
    return text
