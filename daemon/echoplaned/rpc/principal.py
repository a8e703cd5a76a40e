"""Who makes the call that is being answered, and for which models."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from echoplaned.core.ids import LOCAL_PRINCIPAL

# A call is a task of its own with a context of its own: what is set there ends with it.
_PRINCIPAL: Final = ContextVar("principal", default=LOCAL_PRINCIPAL)
_MODELS: Final[ContextVar[tuple[str, ...]]] = ContextVar("models", default=())


def current_principal() -> str:
    """Return who calls: ``key/ID`` through the gateway with a key, else ``local``."""
    return _PRINCIPAL.get()


def set_principal(principal: str) -> None:
    """Say who gives this call's commands."""
    _PRINCIPAL.set(principal)


def set_scope(models: tuple[str, ...]) -> None:
    """Say which models this call's caller may see; empty: all."""
    _MODELS.set(models)


def may_see(model: str) -> bool:
    """Return whether this call's caller may see a model, or what is of it.

    Lists ask before they are cut into pages: a page's token names an item.
    """
    models = _MODELS.get()
    return not models or model in models


def may_see_all() -> bool:
    """Return whether this call's caller may see every model.

    And so whatever else the machine does.
    """
    return not _MODELS.get()
