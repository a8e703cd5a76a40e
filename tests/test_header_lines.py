"""Headers that are no UTF-8 fill no log."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest
import structlog

from echoplaned.header_lines import EVENT, INTERVAL_S, LOGGER, quiet_header_lines
from echoplaned.settings import LogLevel
from echoplaned.telemetry.logging import configure_logging
from echoplaned.worker.server import configure_logging as configure_worker

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and empty settings
HEADERS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.Service/Call"),
    (b":authority", b"a"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"x-a", b"\xff\xfe"),
)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Begin with a logger that nothing was done to, and leave the root's as it was."""
    logger, root = logging.getLogger(LOGGER), logging.getLogger()
    kept, handlers, level = logger.filters[:], root.handlers[:], root.level
    logger.filters.clear()
    yield
    logger.filters[:] = kept
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


async def call(port: int) -> None:
    """Make one call with a header that is no UTF-8, as no client of gRPC does."""
    block = b"".join(bytes((0, len(name))) + name + bytes((len(value),)) + value for name, value in HEADERS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = len(block).to_bytes(3, "big") + bytes((1, 4)) + (1).to_bytes(4, "big")
    body = b"\0\0\x05\0\x01" + (1).to_bytes(4, "big") + b"\0\0\0\0\0"
    writer.write(PREFACE + head + block + body)
    async with asyncio.timeout(10):
        while b"answered" not in await reader.read(4096):
            pass
    writer.close()


async def serve_and_call(times: int) -> None:
    """Answer calls by a server that looks at all their headers three times, as the daemon's doors do."""

    async def answer(_request: bytes, context: Any) -> bytes:
        assert sum(key == "x-a" for _ in range(3) for key, _ in context.invocation_metadata()) == 3
        return b"answered"

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(cast(Any, answer))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", {"Call": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for _ in range(times):
        await call(port)
    await server.stop(None)


async def test_calls_with_such_a_header_write_one_line() -> None:
    """The daemon's log has one short line for all of them, without a traceback."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    await serve_and_call(5)
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["level"], "exception" in line) == (EVENT, "warning", False)


def test_a_line_a_minute() -> None:
    """After a minute there is another one; configured twice, the log is no quieter; other lines stay."""
    now = 0.0
    quiet_header_lines(lambda: now)
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    logger = logging.getLogger(LOGGER)
    for seconds in (0.0, 1.0, INTERVAL_S - 1, INTERVAL_S, INTERVAL_S + 1):
        now = seconds
        logger.error("Invalid encoding on %s", b"\xff", exc_info=UnicodeError("no"))
    logger.error("something else %s", "said")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == [EVENT, EVENT, "something else said"]


def test_a_worker_is_quiet_as_well() -> None:
    """Its log is a file of its own, which such lines would fill."""
    configure_worker("w")
    assert len(logging.getLogger(LOGGER).filters) == 1
