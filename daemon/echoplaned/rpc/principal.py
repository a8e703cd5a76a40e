"""Who gives the commands of the call that is being answered."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from echoplaned.core.ids import LOCAL_PRINCIPAL

# A call is a task of its own with a context of its own: what is set there ends with it.
_PRINCIPAL: Final = ContextVar("principal", default=LOCAL_PRINCIPAL)


def current_principal() -> str:
    """Return who calls: ``key/ID`` through the gateway with a key, else ``local``."""
    return _PRINCIPAL.get()


def set_principal(principal: str) -> None:
    """Say who gives this call's commands."""
    _PRINCIPAL.set(principal)
