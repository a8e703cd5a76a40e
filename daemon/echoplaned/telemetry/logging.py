"""Logs: one JSON object a line on stderr.

Lines come from structlog and from libraries that use ``logging`` alike. Whatever callers write ends up in here, so lines are pure
ASCII with everything else escaped, and values are cut when they are long.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from echoplaned.header_lines import quiet_header_lines
from echoplaned.settings import LogLevel

MAX_VALUE_CHARACTERS = 4096
MAX_EXCEPTION_CHARACTERS = 16_384

# At INFO these tell of their own start and nothing of ours.
_QUIET_LIBRARIES = ("alembic", "sqlalchemy", "asyncio", "grpc")


class _LineLogger:
    """Writes finished lines.

    A stream that cannot be written loses lines and never ends the daemon.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        """Write one line."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            return

    log = debug = info = warning = warn = error = critical = exception = fatal = msg


def configure_logging(level: LogLevel, stream: TextIO | None = None) -> None:
    """Send every line from a level on to a stream; may be called again.

    Args:
        level: the least severe lines that are written.
        stream: where to; None: stderr.
    """
    target = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.value]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _add_name, *_shared(), _bound, _render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *names: _LineLogger(target, names[0] if names else ""),
        cache_logger_on_first_use=False,  # else loggers at module level would keep an earlier stream
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.add_logger_name, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _bound, _render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    quiet_header_lines()
    logging.captureWarnings(capture=True)


@contextmanager
def log_context(*, request_id: str = "", model: str = "", rollout: str = "") -> Iterator[None]:
    """Put these ids on every log line that is written within the block.

    Within are this task and those that it starts; empty ids are left out.
    """
    given = {"request_id": request_id, "model": model, "rollout": rollout}
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in given.items() if value}):
        yield


def _shared() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _add_name(logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    if isinstance(logger, _LineLogger) and logger.name:
        line["logger"] = logger.name
    return line


def _bound(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Cut long texts; the end of an exception says most, of all else the beginning."""
    for name, value in line.items():
        if name == "exception" and isinstance(value, str):
            line[name] = value[-MAX_EXCEPTION_CHARACTERS:]
        elif isinstance(value, str) and len(value) > MAX_VALUE_CHARACTERS:
            line[name] = f"{value[:MAX_VALUE_CHARACTERS]}... ({len(value)} characters)"
    return line


def _render(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    try:
        text = _dump(line)
    except (TypeError, ValueError):  # keys that are no text, NaN, values that hold themselves
        text = _dump({str(name): value if isinstance(value, str) else repr(value) for name, value in line.items()})
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON lets through


def _dump(line: Mapping[str, object]) -> str:
    return json.dumps(line, default=repr, allow_nan=False)
