"""What each kind of engine is, declared once for planner, admission and leaders: one file a kind."""

from echoplaned.engine_kinds import aphrodite, command, embedded, llama_cpp, sglang, vllm
from echoplaned.engine_kinds.configured import configure, declared_name
from echoplaned.engine_kinds.kind import EngineKind, KindLimits, Option, OptionType

KINDS: tuple[EngineKind, ...] = (embedded.KIND, llama_cpp.KIND, vllm.KIND, aphrodite.KIND, sglang.KIND, command.KIND)
"""Every declaration of this release; a foreign one can be started once a setting says where its engine is (``configure_kinds``)."""

DEFAULT_KIND: EngineKind = embedded.KIND
"""The kind that is meant where none is named: by a caller, or by a record of contract 1."""


def configure_kinds(settings: tuple[str, ...]) -> tuple[EngineKind, ...]:
    """Return every kind that leaders may be adopted of: the declared ones, and those that settings (``NAME=PREFIX``) configure.

    Raises:
        ValueError: a setting is wrong; the message names it.
    """
    found = {kind.name: kind for kind in KINDS}
    configured: set[str] = set()
    for text in settings:
        kind = configure(text, KINDS)
        if kind.name in configured:
            raise ValueError(f"{kind.name} is given twice: another build needs a name of its own, {kind.name}-LABEL")
        configured.add(kind.name)
        found[kind.name] = kind
    return tuple(found.values())


def find_kind(name: str, kinds: tuple[EngineKind, ...] = KINDS) -> EngineKind | None:
    """Return the kind of a name, the default one for an empty name; a name with a label that is not among them is its declaration's."""
    wanted = name or DEFAULT_KIND.name
    return next((kind for kind in kinds if kind.name == wanted), None) or declared_name(wanted, kinds)


def find_sized(name: str) -> EngineKind | None:
    """Return the declaration that a plan for an engine goes by: by its name, or by the one that it is sized under (``llama.cpp``)."""
    return find_kind(name) or next((kind for kind in KINDS if kind.sized_as and kind.sized_as == name), None)


def sizing_name(engine: str) -> str:
    """Return the name that an engine's memory is planned under: labels make no difference, and builds hardly any."""
    kind = find_kind(engine)
    if kind is None or kind.foreign is None:
        return engine
    return kind.sized_as or kind.name


__all__ = [
    "DEFAULT_KIND",
    "KINDS",
    "EngineKind",
    "KindLimits",
    "Option",
    "OptionType",
    "configure_kinds",
    "find_kind",
    "find_sized",
    "sizing_name",
]
