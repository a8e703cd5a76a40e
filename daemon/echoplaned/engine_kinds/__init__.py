"""What each kind of engine is, declared once for planner, admission and leaders: one file a kind."""

from echoplaned.engine_kinds import embedded
from echoplaned.engine_kinds.kind import EngineKind, Limits, Option, OptionType

KINDS: tuple[EngineKind, ...] = (embedded.KIND,)
"""Every kind of this release; the composition root iterates over them."""

DEFAULT_KIND: EngineKind = embedded.KIND
"""The kind that is meant where none is named: by a caller, or by a record of contract 1."""


def find_kind(name: str, kinds: tuple[EngineKind, ...] = KINDS) -> EngineKind | None:
    """Return the kind of a name, the default one for an empty name; None if there is none."""
    return next((kind for kind in kinds if kind.name == (name or DEFAULT_KIND.name)), None)


__all__ = ["DEFAULT_KIND", "KINDS", "EngineKind", "Limits", "Option", "OptionType", "find_kind"]
