"""Serves ``/metrics`` on loopback.

It does so from a thread of its own: a slow reader costs the daemon's loop nothing.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from echoplaned.addresses import Address
from echoplaned.core.failure import InvalidField
from echoplaned.settings import SettingsInvalidError

PATH = "/metrics"
IDLE_TIMEOUT_S = 10.0
_POLL_S = 0.1


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


class _Handler(WSGIRequestHandler):
    """One connection; a reader that sends nothing is let go."""

    timeout = IDLE_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Keep plain lines out of the structured log."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False  # a reader in mid-answer must not hold up the daemon's end

    def __init__(self, listen: Address) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        super().__init__((listen.host, listen.port), _Handler)

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
