"""The metrics port: two formats, one path, loopback, a clean end."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector
from structlog.testing import capture_logs

from echoplaned.addresses import Address
from echoplaned.settings import SettingsInvalidError
from echoplaned.telemetry import http as metrics_http
from echoplaned.telemetry.http import MetricsServer
from echoplaned.telemetry.metrics import Metrics


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """Return a server on a free port."""
    started = MetricsServer(Address("127.0.0.1", 0), Metrics().registry)
    yield started
    started.stop()


def get(server: MetricsServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """Return status, content type and body."""
    connection = http.client.HTTPConnection(server.address.host, server.address.port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def test_both_formats_are_served(server: MetricsServer) -> None:
    """Text by default, OpenMetrics where it is asked for; both parse and hold the same metrics."""
    status, kind, body = get(server, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    plain = {family.name for family in parse_text(body)}
    status, kind, body = get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(body)}
    assert "echoplane_load_seconds" in plain


@pytest.mark.parametrize("path", ["/", "/metrics/", "/favicon.ico", "/metrics/../etc/passwd", "/%00"])
def test_nothing_else_is_served(server: MetricsServer, path: str) -> None:
    """Every other path is not found."""
    assert get(server, path)[0] == 404


def test_only_reading_is_allowed(server: MetricsServer) -> None:
    """A method that would change something is refused."""
    assert get(server, "/metrics", method="POST")[0] == 405


def test_a_silent_reader_holds_up_nobody(server: MetricsServer) -> None:
    """A connection that sends nothing neither stops others from reading nor the server from ending."""
    with socket.create_connection((server.address.host, server.address.port)):
        assert get(server, "/metrics")[0] == 200
        server.stop()
    with pytest.raises(ConnectionRefusedError):
        get(server, "/metrics")


def test_readers_that_linger_are_let_go(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So many connections and no more, each for so long, whatever it sends meanwhile; none writes plain lines to stderr."""
    monkeypatch.setattr(metrics_http, "TOTAL_TIMEOUT_S", 2.5)
    before = threading.active_count()
    began_s = time.monotonic()
    with ExitStack() as stack:
        readers = [
            stack.enter_context(socket.create_connection((server.address.host, server.address.port))) for _ in range(60)
        ]
        for reader in readers:
            reader.settimeout(5)
        assert [reader.recv(1) for reader in readers[metrics_http.MAX_CONNECTIONS :]] == [b""] * 44
        assert threading.active_count() - before <= metrics_http.MAX_CONNECTIONS
        lingering = readers[: metrics_http.MAX_CONNECTIONS]
        lingering[0].sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        while time.monotonic() - began_s < 8 and send(lingering[0]):
            time.sleep(0.1)
        assert time.monotonic() - began_s < 6
        assert [reader.recv(1) for reader in lingering[1:]] == [b""] * 15
    assert get(server, "/metrics")[0] == 200
    assert capsys.readouterr().err == ""


def send(reader: socket.socket) -> bool:
    """Send one more byte of a header; whether the other end is there."""
    try:
        reader.sendall(b"a")
    except OSError:
        return False
    return True


def test_an_idle_connection_is_no_traceback(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stderr has one JSON object a line: a reader that is silent for too long says nothing there."""
    monkeypatch.setattr(metrics_http._Handler, "timeout", 0.2)
    with socket.create_connection((server.address.host, server.address.port)) as reader:
        reader.settimeout(5)
        assert reader.recv(1) == b""
    assert capsys.readouterr().err == ""


def test_a_fault_of_ours_is_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics that cannot be told are an error 500 and one JSON object."""

    class Broken(Collector):
        """What cannot be told."""

        def collect(self) -> Iterator[Metric]:
            raise LookupError("lost")

        def describe(self) -> Iterator[Metric]:
            return iter(())

    registry = CollectorRegistry()
    registry.register(Broken())
    server = MetricsServer(Address("127.0.0.1", 0), registry)
    with capture_logs() as lines:
        assert get(server, "/metrics")[0] == 500
        server.stop()
    assert [line["event"] for line in lines] == ["metrics_failed"]
    assert "lost" in str(lines[0]["exc_info"])
    assert capsys.readouterr().err == ""


def test_stopping_leaves_no_thread_and_frees_the_port() -> None:
    """After the end the same port can be taken at once; a second stop does nothing."""
    first = MetricsServer(Address("127.0.0.1", 0), Metrics().registry)
    get(first, "/metrics")
    first.stop()
    first.stop()
    second = MetricsServer(first.address, Metrics().registry)
    assert get(second, "/metrics")[0] == 200
    second.stop()
    assert "metrics" not in {thread.name for thread in threading.enumerate()}


def test_a_port_in_use_is_named(server: MetricsServer) -> None:
    """The error is one of the settings, with the flag to change."""
    with pytest.raises(SettingsInvalidError, match=r"Address already in use \(--metrics-listen") as caught:
        MetricsServer(server.address, Metrics().registry)
    assert caught.value.failure.violations[0].field == "metrics_listen"


def test_ipv6_loopback_works() -> None:
    """The bracketed form listens on IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    server = MetricsServer(Address.parse("[::1]:0"), Metrics().registry)
    assert get(server, "/metrics")[0] == 200
    server.stop()
