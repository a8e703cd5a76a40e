"""Documents as older releases wrote them, brought to the form of today's classes while they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from echoplaned.core.spec import VersionSpec

Document = dict[str, Any]

# Until the shape was a class of its own, its fields lay flat in the specification, the options under a name of two words.
_SHAPE_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dtype": "dtype",
        "context_length": "context_length",
        "max_concurrency": "max_concurrency",
        "engine": "engine",
        "replicas": "replicas",
        "engine_options": "options",
        "weights_format": "weights_format",
    }
)


def _version_spec(document: Document) -> Document:
    if "shape" in document:
        return document
    shape = {new: document[old] for old, new in _SHAPE_FIELDS.items() if old in document}
    return {name: value for name, value in document.items() if name not in _SHAPE_FIELDS} | {"shape": shape}


UPGRADES: Final[Mapping[type, Callable[[Document], Document]]] = MappingProxyType({VersionSpec: _version_spec})
"""By class: takes what any release wrote, returns what this one writes."""
