"""The methods that a chat template may call, and how much each may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from echoplaned.worker.template_bounds import MAX_PARTS, bounds, check_search, refuse

_TEXT: Final = frozenset(
    {
        *("capitalize", "casefold", "lower", "swapcase", "title", "upper"),
        *("lstrip", "removeprefix", "removesuffix", "rstrip", "strip"),
        *("count", "endswith", "find", "index", "rfind", "rindex", "startswith"),
        *(
            "isalnum",
            "isalpha",
            "isascii",
            "isdecimal",
            "isdigit",
            "isidentifier",
            "islower",
            "isnumeric",
            "isprintable",
        ),
        *("isspace", "istitle", "isupper"),
        *("join", "partition", "replace", "rpartition", "rsplit", "split", "splitlines"),
    }
)
METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: _TEXT,
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
}
"""By the type that has them; formatting, filling up to a width, and what changes its owner are not among them."""

_MAX_STRIPPED: Final = 256
_LINE_ENDS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_SPACES: Final = (
    "\t \x1f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000" + _LINE_ENDS
)
_PART_BYTES: Final = 80


def prepare(owner: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: ANN401 - a template's values
    """Return the arguments of a call; refuse it if it takes or makes more than it may.

    An iterator among them is read, within its bounds.
    """
    check = _CHECKS.get(name)
    if not isinstance(owner, str) or check is None:
        return args
    if name == "join" and args:
        args = (bounds().gather(args[0]), *args[1:])
    check(owner, args, kwargs)
    return args


def size_of_element(owner: object) -> int:
    """Return the bytes of each element that a method of the owner makes."""
    return _PART_BYTES if isinstance(owner, str) else 0


def check_strip(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse to look for each character of a text in a long one."""
    del text
    for one in (*args, *kwargs.values()):
        if isinstance(one, str) and len(one) > _MAX_STRIPPED:
            refuse("strips by a text beyond what is allowed here")


def check_replace(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse to make a long text by replacing."""
    if len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
        most = args[2] if len(args) > 2 else kwargs.get("count", -1)
        found = text.count(args[0])
        found = min(found, most) if isinstance(most, int) and most >= 0 else found
        bounds().check(len(text) + found * max(len(args[1]) - len(args[0]), 0), "replaces texts")


def check_split(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse to take a text into many parts, or to look for a long one from its end."""
    separator = args[0] if args else kwargs.get("sep")
    most = args[1] if len(args) > 1 else kwargs.get("maxsplit", -1)
    check_search(text, separator)
    if not isinstance(most, int) or most < 0:
        most = MAX_PARTS + 1
    ends = [separator] if isinstance(separator, str) and separator else _SPACES
    _check_parts(min(sum(map(text.count, ends)), most))


def check_lines(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse to take a text into many lines."""
    del args, kwargs
    _check_parts(sum(text.count(one) for one in _LINE_ENDS))


def _check_parts(parts: int) -> None:
    if parts > MAX_PARTS:
        refuse("takes a text apart beyond what is allowed here")


def _check_backward(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    del kwargs
    check_search(text, args[0] if args else None)


def _check_join(text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    del kwargs
    if args and isinstance(args[0], Iterable):
        bounds().check(sum(len(one) + len(text) for one in args[0] if isinstance(one, str)) - len(text), "joins texts")


_CHECKS: Final[Mapping[str, Callable[[str, tuple[Any, ...], Mapping[str, Any]], None]]] = {
    **dict.fromkeys(("lstrip", "rstrip", "strip"), check_strip),
    **dict.fromkeys(("rfind", "rindex", "rpartition"), _check_backward),
    **dict.fromkeys(("rsplit", "split"), check_split),
    "join": _check_join,
    "replace": check_replace,
    "splitlines": check_lines,
}
