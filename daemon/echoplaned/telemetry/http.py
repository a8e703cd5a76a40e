"""Serves ``/metrics`` on loopback.

It does so from a thread of its own: a slow reader costs the daemon's loop nothing.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, TypeAlias, cast
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from echoplaned.addresses import Address
from echoplaned.core.failure import InvalidField
from echoplaned.settings import SettingsInvalidError

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

PATH = "/metrics"
IDLE_TIMEOUT_S = 10.0
TOTAL_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 16
MAX_WAITING = 128
_MAX_LINE_BYTES = 65_536
# A pair would be a datagram; the library's servers are typed for both.
_Request: TypeAlias = socket.socket | tuple[bytes, socket.socket]
_POLL_S = 0.1
log = structlog.get_logger(__name__)


class MetricsServer:
    """The HTTP server of the metrics, which listens from its making until ``stop``.

    Text format, or OpenMetrics where the reader's Accept header asks for it.
    """

    def __init__(self, listen: Address, registry: CollectorRegistry) -> None:
        """Bind and serve.

        Raises:
            SettingsInvalidError: the address cannot be listened on.
        """
        try:
            self._server = _Server(listen)
        except OSError as error:
            description = (
                f"{listen} cannot be listened on: {error.strerror} (--metrics-listen, ECHOPLANE_METRICS_LISTEN)"
            )
            raise SettingsInvalidError(InvalidField("metrics_listen", description)) from error
        self._server.set_app(_only_metrics(make_wsgi_app(registry)))
        self.address = Address(listen.host, self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and wait for the thread; a second call does nothing.

        Blocks up to a tenth of a second.
        """
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Answering(ServerHandler):
    """Writes one answer."""

    request_handler: WSGIRequestHandler

    def log_exception(self, exc_info: OptExcInfo) -> None:
        """Log a fault of ours as a line of the structured log.

        A reader that left, or is slow, is none.
        """
        if not isinstance(exc_info[1], OSError):
            log.error("metrics_failed", exc_info=exc_info)


class _Handler(WSGIRequestHandler):
    """One connection; a reader that sends nothing is let go."""

    timeout = IDLE_TIMEOUT_S
    server: _Server

    def handle(self) -> None:
        """Answer one request; as the inherited one, but for what it does with errors."""
        self.raw_requestline = self.rfile.readline(_MAX_LINE_BYTES + 1)
        if len(self.raw_requestline) > _MAX_LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.parse_request():
            out = cast("IO[bytes]", self.wfile)
            answering = _Answering(self.rfile, out, self.get_stderr(), self.get_environ(), multithread=False)
            answering.request_handler = self
            answering.run(cast("WSGIApplication", self.server.get_app()))

    def log_message(self, format: str, *args: object) -> None:
        """Keep plain lines out of the structured log."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each connection, of which there are so many and for so long."""

    daemon_threads = True
    block_on_close = False  # a reader in mid-answer must not hold up the daemon's end
    request_queue_size = MAX_WAITING

    def __init__(self, listen: Address) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._lock = threading.Lock()
        self._ends_s: dict[_Request, float] = {}
        super().__init__((listen.host, listen.port), _Handler)

    def process_request(self, request: _Request, client_address: object) -> None:
        """Begin a connection, or close it where there are as many as may be."""
        with self._lock:
            if has_room := len(self._ends_s) < MAX_CONNECTIONS:
                self._ends_s[request] = time.monotonic() + TOTAL_TIMEOUT_S
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: _Request) -> None:
        """End a connection; its place is free."""
        with self._lock:
            self._ends_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Let go of readers that send, or take, a byte now and then.

        Their threads find the end of the connection.
        """
        now_s = time.monotonic()
        with self._lock:  # none of them is closed, and its number another's, meanwhile
            for request, ends_s in self._ends_s.items():
                if ends_s <= now_s and isinstance(request, socket.socket):
                    with suppress(OSError):  # the reader was faster
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a fault of ours as a line of the structured log.

        A reader that left, or is slow, is none.
        """
        del request, client_address
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("metrics_failed", exc_info=error)

    def server_bind(self) -> None:
        """Bind without the inherited look-up of the host's name, which asks a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


def _only_metrics(metrics: WSGIApplication) -> WSGIApplication:
    """Answer under one path; the library's own application answers under every one."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"metrics are under /metrics\n"]
        return metrics(environ, start_response)

    return application
