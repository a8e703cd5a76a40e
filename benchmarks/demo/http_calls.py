"""HTTP calls through the gateway, each shown as a curl line that does the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import time
from dataclasses import dataclass

SHOWN_CHARACTERS = 140
PAUSE_S = 0.2
CALL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A call of the gateway.

    Attributes:
        gateway: its address, HOST:PORT.
        path: what is asked for, from the first slash on.
        body: what is sent as JSON by POST; None: nothing, by GET.
    """

    gateway: str
    path: str
    body: dict[str, str] | None = None

    def curl(self) -> str:
        """Return the command that makes this call."""
        sent = [] if self.body is None else ["--json", json.dumps(self.body)]
        return shlex.join(["curl", "-s", *sent, f"http://{self.gateway}{self.path}"])

    def make(self, timeout_s: float) -> DemoAnswer:
        """Make it again and again until it is answered with 200.

        The gateway gets to know a new model a moment after the load's end.

        Raises:
            RuntimeError: it was not in time; the message has what came last.
        """
        ends_at = time.monotonic() + timeout_s
        while True:
            try:
                answer = self._make()
                if answer.status == 200:
                    return answer
                last = f"{answer.status} {answer.text}"
            except OSError as error:
                last = str(error)
            if time.monotonic() > ends_at:
                raise RuntimeError(f"{self.curl()} was not answered well within {timeout_s:g} s: {last}")
            time.sleep(PAUSE_S)

    def _make(self) -> DemoAnswer:
        # http.client reads no proxy from the environment.
        with contextlib.closing(http.client.HTTPConnection(self.gateway, timeout=CALL_TIMEOUT_S)) as connection:
            if self.body is None:
                connection.request("GET", self.path)
            else:
                connection.request("POST", self.path, json.dumps(self.body), {"content-type": "application/json"})
            answer = connection.getresponse()
            version = answer.getheader("x-model-version", "")
            return DemoAnswer(answer.status, answer.read().decode("utf-8", "replace"), version)


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """What came back.

    Attributes:
        status: HTTP's.
        text: the body.
        version: of the model, by the header; empty: no model answered.
    """

    status: int
    text: str
    version: str

    def shortened(self) -> str:
        """Return its beginning, as much as one line shows."""
        return self.text if len(self.text) <= SHOWN_CHARACTERS else f"{self.text[:SHOWN_CHARACTERS]}…"
