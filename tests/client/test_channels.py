"""What keeps a proxy of the environment away from the daemon."""

from __future__ import annotations

import os

import pytest

from echoplane.channels import (
    CONTROL_OPTIONS,
    DIRECT_OPTIONS,
    EXCEPTIONS_VARIABLE,
    bypass_proxy,
    install_bootstrap,
    proxy_exceptions,
)

PROXY = "http://127.0.0.1:9"
NAMES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.mark.parametrize(
    ("environment", "exceptions"),
    [
        ({}, None),
        ({"http_proxy": ""}, None),
        ({"no_proxy": "example.org"}, None),
        ({"http_proxy": PROXY}, "127.0.0.1"),
        ({"https_proxy": PROXY}, "127.0.0.1"),
        ({"grpc_proxy": PROXY}, "127.0.0.1"),
        ({"http_proxy": PROXY, "no_proxy": "example.org"}, "example.org,127.0.0.1"),
        ({"http_proxy": PROXY, "no_proxy": "a.org", "no_grpc_proxy": "b.org"}, "b.org,127.0.0.1"),
        ({"http_proxy": PROXY, "no_proxy": "localhost, 127.0.0.1"}, None),
    ],
)
def test_the_daemons_host_becomes_an_exception(environment: dict[str, str], exceptions: str | None) -> None:
    """It is added to the exceptions that gRPC would use, once, and only where there is a proxy."""
    assert proxy_exceptions(environment, "127.0.0.1:8470") == exceptions


@pytest.mark.parametrize(("address", "host"), [("localhost:1", "localhost"), ("[::1]:8470", "::1"), ("box", "box")])
def test_the_host_of_an_address(address: str, host: str) -> None:
    """Names, addresses in brackets, and what has no port."""
    assert proxy_exceptions({"http_proxy": PROXY}, address) == host


def test_the_environment_is_changed_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bootstrap brings the exception with it, also where the process has a bootstrap of its own; two daemons are two."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_grpc_proxy", "")
    monkeypatch.setenv("GRPC_XDS_BOOTSTRAP_CONFIG", "{}")
    bypass_proxy("127.0.0.1:1")
    assert not os.environ[EXCEPTIONS_VARIABLE]
    monkeypatch.setenv("http_proxy", PROXY)
    assert not install_bootstrap("127.0.0.1:1")
    assert os.environ[EXCEPTIONS_VARIABLE] == "127.0.0.1"
    bypass_proxy("localhost:1")
    assert os.environ[EXCEPTIONS_VARIABLE] == "127.0.0.1,localhost"


def test_no_channel_of_ours_asks_a_proxy() -> None:
    """The options of both kinds of channels say so."""
    assert ("grpc.enable_http_proxy", 0) in CONTROL_OPTIONS
    assert ("grpc.enable_http_proxy", 0) in DIRECT_OPTIONS
