"""What gRPC logs of headers that are no UTF-8, bounded to a line a minute.

Its own is a traceback for each header and reading. Any caller may send such a header, and gRPC's own reading of it goes on with Latin-1.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

LOGGER: Final = "grpc._cython.cygrpc"
EVENT: Final = "header.not_utf8"
INTERVAL_S: Final = 60.0
_MESSAGE: Final = "Invalid encoding"


def quiet_header_lines(monotonic: Callable[[], float] = time.monotonic) -> None:
    """Bound what gRPC logs of such headers in this process; may be called again."""
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(each, _LineAMinute) for each in logger.filters):
        logger.addFilter(_LineAMinute(monotonic))


class _LineAMinute(logging.Filter):
    """Lets one such line through a minute, without its traceback and the bytes.

    All other lines stay as they are.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._next_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        if not str(record.msg).startswith(_MESSAGE):
            return True
        now = self._monotonic()
        if now < self._next_s:
            return False
        self._next_s = now + INTERVAL_S
        record.msg, record.args, record.exc_info = EVENT, (), None
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True
