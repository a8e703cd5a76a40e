"""Log filters against messages of torch's libraries that nobody can act on."""

from __future__ import annotations

import logging
from typing import Final

_PYTREE: Final = "torch.utils._pytree"
_ENUM_SUBCLASS: Final = "%s is an Enum subclass"


class _EnumRegistrations(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_ENUM_SUBCLASS)


def leave_out_enum_registrations() -> None:
    """Drop torch's advice against registering enums from its log.

    torchao 0.18 registers twice as it is imported. Call this before that.

    It is a message of torch's logger and no Python warning, so that no warnings filter reaches it; every other one of this logger stays.
    """
    logger = logging.getLogger(_PYTREE)
    if not any(isinstance(each, _EnumRegistrations) for each in logger.filters):
        logger.addFilter(_EnumRegistrations())
