"""The filters and tests that a chat template may use, each within its sizes."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

import markupsafe
from jinja2 import Environment, Undefined, pass_environment
from jinja2.filters import FILTERS as _FILTERS
from jinja2.filters import do_batch, do_groupby, do_indent, do_round, do_slice, make_attrgetter
from jinja2.tests import TESTS as _TESTS

from echoplaned.worker.template_bounds import MAX_PARTS, bounds, check_number, refuse
from echoplaned.worker.template_methods import check_lines, check_replace, check_strip

_AS_THEY_ARE: Final = (
    "count",
    "d",
    "default",
    "first",
    "items",
    "last",
    "length",
    "map",
    "reject",
    "rejectattr",
    "select",
    "selectattr",
)
_OF_TEXTS: Final = ("capitalize", "lower", "title", "trim", "truncate", "upper")
_OF_LISTS: Final = ("dictsort", "list", "max", "min", "reverse", "sort", "unique")
_OF_NUMBERS: Final = ("divisibleby", "even", "odd")
_MAX_DIGITS: Final = 4_300
_MAX_PRECISION: Final = 20
_MAX_INDENT: Final = 64
_MAX_JSON_INDENT: Final = 8
_MAX_SEPARATOR: Final = 16
_WORD_ENDS: Final = re.compile(r"[-\s({\[<]")

Function = Callable[..., Any]

FILTERS: Final[Mapping[str, Any]] = _FILTERS
TESTS: Final[Mapping[str, Any]] = _TESTS


def make_filters() -> dict[str, Function]:
    """Return the filters by name; jinja2's others are refused where they are reached."""
    allowed: dict[str, Function] = {
        **{name: _wrap(FILTERS[name], _as_it_is) for name in _AS_THEY_ARE},
        **{name: _wrap(FILTERS[name], _as_text) for name in _OF_TEXTS},
        **{name: _wrap(FILTERS[name], _as_list) for name in _OF_LISTS},
        **{name: _wrap(FILTERS[name], _as_digits) for name in ("float", "int")},
        "abs": _wrap(abs, _as_number),
        "batch": _batch,
        "groupby": _groupby,
        "indent": _indent,
        "join": _join,
        "replace": _replace,
        "round": _round,
        "slice": _slice,
        "sum": _sum,
        "tojson": _to_json,
        **dict.fromkeys(("safe", "string"), _string),
        **dict.fromkeys(("e", "escape", "forceescape"), _escape),
    }
    allowed["title"] = _wrap(FILTERS["title"], _as_words)
    allowed["trim"] = _trim
    return {name: allowed.get(name) or functools.partial(_refuse_filter, name) for name in FILTERS} | allowed


def make_tests() -> dict[str, Function]:
    """Return jinja2's tests by name, those of numbers with numbers only."""
    return {
        **TESTS,
        **{name: _wrap(TESTS[name], _as_number) for name in _OF_NUMBERS},
        **{name: _wrap(TESTS[name], _as_text) for name in ("lower", "upper")},
    }


def _wrap(function: Function, prepare: Callable[[Any], Any]) -> Function:
    """Return a filter that prepares its value, and counts its result."""
    at = int(hasattr(function, "jinja_pass_arg"))

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a template's values
        prepared = (*args[:at], prepare(args[at]), *args[at + 1 :])
        return bounds().hold(function(*prepared, **kwargs))

    return wrapped


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - a template's value
    return value


def _as_text(value: object) -> str:
    return bounds().text(value)


def _as_words(value: object) -> str:
    text = bounds().text(value)
    if len(text) > MAX_PARTS and sum(1 for _ in _WORD_ENDS.finditer(text)) > MAX_PARTS:
        refuse("takes a text apart beyond what is allowed here")
    return text


def _as_list(value: Any) -> Any:  # noqa: ANN401 - a template's value
    return bounds().gather(value)


def _as_number(value: Any) -> Any:  # noqa: ANN401 - a template's value
    if not isinstance(value, Undefined):
        check_number(value)
    return value


def _as_digits(value: Any) -> Any:  # noqa: ANN401 - a template's value
    if isinstance(value, str) and len(value) > _MAX_DIGITS:
        refuse("reads a number beyond what is allowed here")
    return value


def _trim(value: object, chars: str | None = None) -> str:
    text = bounds().text(value)
    check_strip(text, (chars,), {})
    return bounds().hold(text.strip(chars))


def _string(value: object) -> str:
    return bounds().text(value)


def _escape(value: object) -> str:
    return bounds().hold(str(markupsafe.escape(bounds().text(value))))


def _replace(value: object, old: object, new: object, count: int | None = None) -> str:
    text, old, new = (bounds().text(one) for one in (value, old, new))
    most = -1 if count is None else count
    check_replace(text, (old, new, most), {})
    return bounds().hold(text.replace(old, new, most))


@pass_environment
def _join(environment: Environment, value: Any, d: object = "", attribute: str | int | None = None) -> str:  # noqa: ANN401 - a template's value
    pieces = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    return bounds().join(pieces, bounds().text(d))


@pass_environment
def _sum(environment: Environment, iterable: Any, attribute: str | int | None = None, start: float = 0) -> float:  # noqa: ANN401 - a template's value
    found = iterable if attribute is None else map(make_attrgetter(environment, attribute), iterable)
    total = start
    for one in found:
        check_number(total)
        check_number(one)
        total += one
    return total


@pass_environment
def _groupby(
    environment: Environment,
    value: Any,  # noqa: ANN401 - a template's value
    attribute: str | int,
    default: Any = None,  # noqa: ANN401 - as above
    case_sensitive: bool = False,  # noqa: FBT001, FBT002 - as jinja2 has it
) -> Any:  # noqa: ANN401 - as above
    rows = bounds().gather(value)
    if default is not None and bounds().weigh(default).size > _MAX_INDENT:
        refuse("groups by a long default, which is not allowed here")
    return bounds().hold(do_groupby(environment, rows, attribute, default, case_sensitive))


def _batch(value: Any, linecount: int, fill_with: Any = None) -> Iterator[Any]:  # noqa: ANN401 - a template's values
    _check_count(linecount, fill_with)
    return map(bounds().hold, do_batch(value, linecount, fill_with))


def _slice(value: Any, slices: int, fill_with: Any = None) -> Iterator[Any]:  # noqa: ANN401 - a template's values
    _check_count(slices, fill_with)
    return map(bounds().hold, do_slice(bounds().gather(value), slices, fill_with))


def _check_count(count: object, filler: object) -> None:
    check_number(count, MAX_PARTS)
    if isinstance(count, int):
        bounds().check(count * bounds().weigh(filler).size, "fills lists")


def _round(value: Any, precision: int = 0, method: Any = "common") -> float:  # noqa: ANN401 - a template's values
    check_number(value)
    check_number(precision, _MAX_PRECISION)
    return do_round(value, precision, method)


def _indent(value: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:  # noqa: FBT001, FBT002 - as jinja2 has it
    text = bounds().text(value)
    if isinstance(width, str):
        size = len(width)
    else:
        check_number(width)
        size = width
    if size > _MAX_INDENT:
        refuse(f"indents by over {_MAX_INDENT} characters, which is not allowed here")
    check_lines(text, (), {})
    bounds().check(len(text) + size * (len(text.splitlines()) + 1), "indents a text")
    return bounds().hold(do_indent(text, width, first, blank))


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - as transformers has it
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - as above
) -> str:
    size, depth = bounds().weigh(value)
    width = min(indent, _MAX_JSON_INDENT) if isinstance(indent, int) else indent
    spaces = len(width) if isinstance(width, str) else max(width or 0, 0)
    longest = max((len(one) for one in separators or ()), default=0)
    if spaces > _MAX_JSON_INDENT or longest > _MAX_SEPARATOR:
        refuse("writes JSON wider than is allowed here")
    if spaces or longest:
        bounds().check(size + _count_elements(value) * (spaces * depth + longest), "writes JSON")
    return bounds().hold(
        json.dumps(
            value, ensure_ascii=bool(ensure_ascii), indent=width, separators=separators, sort_keys=bool(sort_keys)
        )
    )


def _count_elements(value: object) -> int:
    """Return how many values stand within one, itself among them."""
    if isinstance(value, Mapping):
        return 1 + sum(map(_count_elements, value.values()))
    return 1 + sum(map(_count_elements, value)) if isinstance(value, list | tuple) else 1


def _refuse_filter(name: str, *_: object, **__: object) -> NoReturn:
    refuse(f"uses the filter {name}, which is not allowed here")
