"""A bounded log of the refusals of routes, for those who ask why."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.xds.observer import MAX_NODE_CHARACTERS

MAX_REFUSALS = 100
MAX_REFUSALS_PER_NODE = 10
"""One client that goes on refusing does not push out what the others said."""

MAX_REFUSED_RESOURCES = 20
MAX_REFUSAL_CHARACTERS = 500


class RefusalLog:
    """The latest refusals, a bounded number of them.

    What a client says is cut to a bounded length.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str, frozenset[str], bool], RecordedRefusal] = {}

    def record(self, refusal: RecordedRefusal) -> None:
        """Record a refusal, or count it again.

        Beyond the bounds the oldest of its node goes, then the oldest of all.
        """
        refusal = replace(
            refusal,
            node=refusal.node[:MAX_NODE_CHARACTERS],
            resources=tuple(sorted(refusal.resources)[:MAX_REFUSED_RESOURCES]),
            detail=refusal.detail[:MAX_REFUSAL_CHARACTERS],
        )
        key = (refusal.node, refusal.type_url, refusal.detail, refusal.models, refusal.counted)
        before = self._known.pop(key, None)
        if before is not None:
            refusal = replace(refusal, first_s=before.first_s, count=before.count + 1)
        of_node = [each for each in self._known if each[0] == refusal.node]
        if len(of_node) >= MAX_REFUSALS_PER_NODE:
            del self._known[of_node[0]]
        elif len(self._known) >= MAX_REFUSALS:
            del self._known[next(iter(self._known))]
        self._known[key] = refusal

    def of_model(self, model: str) -> tuple[RecordedRefusal, ...]:
        """Return what was refused of a model's routes, the latest first."""
        return tuple(each for each in reversed(self._known.values()) if model in each.models)

    def remove(self, model: str) -> None:
        """Drop what was about a deleted model alone."""
        self._known = {key: each for key, each in self._known.items() if each.models - {model} or not each.models}
