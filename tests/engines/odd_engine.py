"""Engines that behave badly, one a word: started by the supervisor as any command with a health route."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import shared_memory

HOW, PORT = sys.argv[1], int(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    """Answers as an engine with OpenAI's API would, with numbers that depend on the prompt alone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Be healthy."""
        self._answer(200, {})

    def do_POST(self) -> None:
        """Complete."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if HOW == "dies":
            self.connection.shutdown(socket.SHUT_RDWR)  # a moment before its end, as the kernel closes sockets first
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        if HOW == "no-json":
            self._send(200, b"<html>not an engine</html>")
            return
        if HOW == "error-chunk" and body.get("stream"):
            self._send(200, b'data: {"error": {"message": "engine core died"}}\n\ndata: [DONE]\n\n')
            return
        seed = sum(map(ord, str(body["prompt"])))
        logprobs = {"token_logprobs": [-(seed % 97) / 97.0], "tokens": ["x"]}
        self._answer(200, {"choices": [{"text": "x", "logprobs": logprobs, "finish_reason": "stop"}]})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, data: object) -> None:
        self._send(status, json.dumps(data).encode())

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Begin as the word says."""
    if HOW == "exits":
        sys.exit("RuntimeError: the engine's own reason")
    if HOW == "exits-with-0":
        sys.exit(0)
    if HOW == "silent":
        time.sleep(3600)
    if HOW == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if HOW == "orphans":
        # A grandchild in a session of its own whose parent has gone: neither group nor tree holds it.
        words = "import os, subprocess, sys; subprocess.Popen(['/bin/sleep', '3600'], start_new_session=True)"
        subprocess.run([sys.executable, "-c", words], check=True)
    if HOW == "shares":
        segment = shared_memory.SharedMemory(name=f"ep_odd_{os.getpid()}", create=True, size=1 << 20)
        print(f"shares {segment.name}", flush=True)  # noqa: T201 - a test looks for it
    if HOW == "talks":
        line = b"x" * 1023 + b"\n"
        for _ in range(64 * 1024):
            os.write(1, line)
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.serve_forever()


main()
