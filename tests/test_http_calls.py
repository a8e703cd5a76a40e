"""The demo's HTTP calls, against a server that answers well at the second try only."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.demo.http_calls import SHOWN_CHARACTERS, HttpCall
from echoplaned.testing.daemon import free_port

BODY = {"model": "m", "input": "it's a text"}


class SlowStarter(BaseHTTPRequestHandler):
    """Answers 503 once, then what it was sent."""

    refused = False

    def do_POST(self) -> None:
        """Answer."""
        sent = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200 if SlowStarter.refused else 503)
        SlowStarter.refused = True
        self.send_header("x-model-version", "v1")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """A server's address."""
    SlowStarter.refused = False
    with HTTPServer(("127.0.0.1", 0), SlowStarter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_waits_for_a_good_answer(address: str) -> None:
    """A model that the gateway does not know yet is asked for again; body and version come back."""
    answer = HttpCall(address, "/v1/embeddings", BODY).make(10.0)
    assert (answer.status, json.loads(answer.text), answer.version) == (200, BODY, "v1")


def test_it_says_what_came_last() -> None:
    """Where nobody listens the error has the command that does the same."""
    call = HttpCall(f"127.0.0.1:{free_port()}", "/health")
    with pytest.raises(RuntimeError, match=r"^curl -s http://127\.0\.0\.1:\d+/health was not answered .*refused"):
        call.make(0.0)


def test_the_curl_line_is_the_same_call() -> None:
    """A shell reads back the body and the address, quotes in a text included."""
    words = shlex.split(HttpCall("127.0.0.1:1", "/v1/embeddings", BODY).curl())
    assert (words[-1], json.loads(words[-2])) == ("http://127.0.0.1:1/v1/embeddings", BODY)


def test_a_long_answer_is_cut(address: str) -> None:
    """One line of it is shown, and that there is more."""
    answer = HttpCall(address, "/", {"text": "x" * SHOWN_CHARACTERS}).make(10.0)
    assert answer.shortened() == f"{answer.text[:SHOWN_CHARACTERS]}…"
