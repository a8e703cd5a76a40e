"""A caller's own path and query, to check the transcoder's reading of them.

To a transcoder a query parameter that is named like a path variable is that variable: ``DELETE .../models/a?name=b`` would delete b.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import parse_qsl, unquote

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.rpc.rest.shown import shown

ORIGINAL_PATH: Final = "x-envoy-original-path"
_MAX_PARAMETERS: Final = 64
_VARIABLE: Final = re.compile(r"\{(\w+)(=\*\*)?\}")


@dataclass(frozen=True, slots=True)
class OriginalPath:
    """A path and a query as they came, decoded.

    Attributes:
        variables: of the path, by name.
        parameters: of the query, in their order; a name may come twice.
    """

    variables: Mapping[str, str]
    parameters: tuple[tuple[str, str], ...]


def read_original(path: str, template: str) -> OriginalPath:
    """Read what the gateway says that the caller asked for.

    Args:
        path: with its query.
        template: of the route that was taken.

    Raises:
        FieldInvalidError: the path is not of this route, or the query cannot be read.
    """
    before, _, query = path.partition("?")
    found = _pattern(template).fullmatch(before)
    if found is None:
        raise FieldInvalidError(InvalidField("path", "is not the one of the method that was called"))
    try:
        parameters = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
        variables = {name: unquote(value, errors="strict") for name, value in found.groupdict().items()}
    except ValueError:
        text = f"must be UTF-8, with at most {_MAX_PARAMETERS} parameters"
        raise FieldInvalidError(InvalidField("path", text)) from None
    return OriginalPath(variables, tuple(parameters))


def check_parameters(parameters: tuple[tuple[str, str], ...], allowed: tuple[str, ...]) -> dict[str, str]:
    """Return a query's parameters by name.

    Raises:
        FieldInvalidError: one is not allowed, or comes twice.
    """
    found: dict[str, str] = {}
    violations: dict[str, InvalidField] = {}
    known = f"this route takes {', '.join(allowed)}" if allowed else "this route takes none"
    for name, value in parameters:
        if name not in allowed:
            violations[name] = InvalidField(shown(name), f"is no parameter of this route; {known}")
        elif name in found:
            violations[name] = InvalidField(shown(name), "is said twice")
        found[name] = value
    if violations:
        raise FieldInvalidError(*violations.values())
    return found


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts: list[str] = []
    last = 0
    for variable in _VARIABLE.finditer(template):
        parts.append(re.escape(template[last : variable.start()]))
        parts.append(f"(?P<{variable[1]}>{'.+' if variable[2] else '[^/]+'})")
        last = variable.end()
    parts.append(re.escape(template[last:]))
    return re.compile("".join(parts) + "/?")
