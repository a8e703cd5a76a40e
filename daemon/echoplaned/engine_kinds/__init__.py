"""Declarations of the kinds of engines, one file a kind.

Each is declared once for planner, admission and leaders.
"""

from echoplaned.engine_kinds import aphrodite, command, embedded, llama_cpp, sglang, vllm
from echoplaned.engine_kinds.configured import configure, declared_name
from echoplaned.engine_kinds.discovery import Discovered, discover
from echoplaned.engine_kinds.installed import find_missing
from echoplaned.engine_kinds.kind import EngineKind, KindLimits, Option, OptionType

KINDS: tuple[EngineKind, ...] = (embedded.KIND, llama_cpp.KIND, vllm.KIND, aphrodite.KIND, sglang.KIND, command.KIND)
"""Every declaration of this release; a foreign one can be started once a setting says where its engine is (``configure_kinds``)."""

DEFAULT_KIND: EngineKind = embedded.KIND
"""The kind that is meant where none is named: by a caller, or by a record of contract 1."""


def configure_kinds(settings: tuple[str, ...]) -> tuple[EngineKind, ...]:
    """Return every kind of engine that leaders may be adopted of.

    The declared ones, with what of each is not installed here, and those that settings (``NAME=PREFIX``) configure.

    Raises:
        ValueError: a setting is wrong; the message names it.
    """
    found = {kind.name: find_missing(kind) for kind in KINDS}
    configured: set[str] = set()
    for text in settings:
        kind = configure(text, KINDS)
        if kind.name in configured:
            raise ValueError(f"{kind.name} is given twice: another build needs a name of its own, {kind.name}-LABEL")
        configured.add(kind.name)
        found[kind.name] = kind
    return tuple(found.values())


def find_kind(name: str, kinds: tuple[EngineKind, ...] = KINDS) -> EngineKind | None:
    """Return the kind of a name; an empty name is the default kind's.

    A name with a label that is not among the kinds is its declaration's.
    """
    wanted = name or DEFAULT_KIND.name
    return next((kind for kind in kinds if kind.name == wanted), None) or declared_name(wanted, kinds)


def describe_absence(name: str, kinds: tuple[EngineKind, ...]) -> str:
    """Say that no engine of a name can be started here, and what to do.

    An empty name is the default kind's.
    """
    wanted = name or DEFAULT_KIND.name
    there = ", ".join(sorted(kind.name for kind in kinds if kind.is_configured)) or "none"
    known = next((kind for kind in kinds if kind.name == wanted), None)
    if known is not None and known.missing:
        return f"there is no engine {wanted} here: {known.absence}; or name another one, there are: {there}"
    hint = "" if find_kind(wanted, kinds) is None else f"; start the daemon with --engine {wanted}=PREFIX to have it"
    return f"there is no engine {wanted!r:.80} here, there are: {there}{hint}"


def find_sized(name: str) -> EngineKind | None:
    """Return the declaration that a plan for an engine goes by.

    By its name, or by the one that it is sized under (``llama.cpp``).
    """
    return find_kind(name) or next((kind for kind in KINDS if kind.sized_as and kind.sized_as == name), None)


def sizing_name(engine: str) -> str:
    """Return the name that an engine's memory is planned under.

    Labels make no difference, and builds hardly any.
    """
    kind = find_kind(engine)
    if kind is None or kind.foreign is None:
        return engine
    return kind.sized_as or kind.name


__all__ = [
    "DEFAULT_KIND",
    "KINDS",
    "Discovered",
    "EngineKind",
    "KindLimits",
    "Option",
    "OptionType",
    "configure_kinds",
    "describe_absence",
    "discover",
    "find_kind",
    "find_sized",
    "sizing_name",
]
