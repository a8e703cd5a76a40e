"""Origins of web pages: what browsers send is taken, anything else is refused with what to write."""

from __future__ import annotations

import pytest

from echoplaned.core.origins import check_origin


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://app.example",
        "http://localhost:3000",
        "http://[::1]:8080",
        "https://a-b.c_d.example:8443",
        "app+x://host",
    ],
)
def test_origins_of_browsers_are_taken(origin: str) -> None:
    """They stay as they are: browsers' are compared character by character."""
    assert check_origin(origin) == origin


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/x",
            "HTTPS://app.example",
        ),
        *("https://App.example", "https://*.example", "https://user@app.example", "https://app.example\n"),
        *("https://app.example:443", "http://app.example:80", "http://a:0800", "http://a:65536", "http://a:"),
    ],
)
def test_others_are_refused(origin: str) -> None:
    """A path, a wildcard within, upper case, or a port that browsers leave out would never match."""
    with pytest.raises(ValueError, match=r"origin|port"):
        check_origin(origin)
