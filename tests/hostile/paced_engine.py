"""An engine that speaks at a set pace, takes one name only, and tells what it does; started as any command with OpenAI's API.

``paced_engine.py FOLDER NAME PORT CONTEXT MODEL``: what it counts is in ``FOLDER/CONTEXT.json``; once ``FOLDER/CONTEXT.closed`` is there
it listens no more, and ends what is under way. Streams end well when all their tokens are out, or once ``FOLDER/enough`` is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER, NAME, PORT, CONTEXT = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
PACE_S = 0.1
COUNTS = {"begun": 0, "running": 0, "left": 0, "other_names": 0}
LOCK = threading.Lock()


def count(**changes: int) -> None:
    """Change the counts, and write them."""
    with LOCK:
        for name, change in changes.items():
            COUNTS[name] += change
        beside = FOLDER / f"{CONTEXT}.next"
        beside.write_text(json.dumps(COUNTS))
        beside.rename(FOLDER / f"{CONTEXT}.json")


class Handler(BaseHTTPRequestHandler):
    """Answers completions and chats: one word a token, and a stream at its pace."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Be healthy."""
        self._send(200, {})

    def do_POST(self) -> None:
        """Complete, if the name is ours."""
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        if body.get("model") != NAME:
            count(other_names=1)
            message = f"The model `{body.get('model')}` does not exist."
            self._send(404, {"error": {"message": message, "type": "NotFoundError", "param": "model", "code": 404}})
            return
        tokens = int(body.get("max_tokens") or 1)
        chats = int(self.path == "/v1/chat/completions")  # the daemon's own probes are none
        count(begun=chats, running=chats)
        try:
            if body.get("stream"):
                self._stream(tokens)
            else:
                self._send(
                    200, {"model": NAME, "choices": [self._choice("x " * tokens, body, last=True)], "sent": body}
                )
        except OSError:
            count(left=chats)
            self.close_connection = True
        finally:
            count(running=-chats)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _choice(self, text: str, body: dict[str, Any], *, last: bool) -> dict[str, Any]:
        prompt = str(body.get("prompt", ""))
        logprobs = {"token_logprobs": [-(sum(map(ord, prompt)) % 97) / 97.0], "tokens": ["x"]}
        message = {"role": "assistant", "content": text}
        finish = "stop" if last else None
        return {"index": 0, "text": text, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def _stream(self, tokens: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index in range(tokens):
            time.sleep(PACE_S)
            last = index + 1 == tokens or (FOLDER / "enough").exists()
            chunk = {"model": NAME, "index": index, "choices": [self._choice("x ", {}, last=last)]}
            self._chunk(f"data: {json.dumps(chunk)}\n\n")
            if last:
                break
        self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _send(self, status: int, data: object) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until the file is there that closes the port; stay alive after that, deaf."""
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    count()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while not (FOLDER / f"{CONTEXT}.closed").exists():
        time.sleep(0.05)
    with contextlib.suppress(OSError):
        os.closerange(3, 4096)  # the port, and every connection
    while True:
        time.sleep(3600)


main()
