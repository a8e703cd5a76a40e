"""Parses a JSON body whose values were counted before."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from echoplaned.worker.http.problems import Problem, RefusedError

MAX_DEPTH: Final = 32
# Possessive, and with an end that may be missing: one pass over the body whatever is in it, and no memory for ways back.
_TEXTS: Final = re.compile(rb'"(?:[^"\\]++|(?:\\.)++)*+"?', re.DOTALL)
_QUOTES: Final = 4  # of a value: those around a name and around a text
_DEPTH_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class _NameError(ValueError):
    """An object names a field twice, or by half a character."""


def parse_object(body: bytes, max_values: int) -> dict[str, Any]:
    """Parse a body that holds one JSON object.

    Raises:
        RefusedError: it is no JSON object, nested too deeply, has more values than ``max_values``, or names a field twice or by
            half a character.
    """
    _check_structure(body, max_values)
    try:
        # Decoded here: of bytes json takes UTF-16 too, whose structure was not counted above, and halves of characters.
        text = body.decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _not_json(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise _not_json("the body is not a JSON object")
    return found


def _check_structure(body: bytes, max_values: int) -> None:
    """Refuse a body that has too many values, or is nested too deeply.

    In most bodies brackets and commas are few, texts included, and nothing else is looked at.
    """
    marks = body.count(b"[") + body.count(b"{")
    if marks <= MAX_DEPTH and body.count(b",") <= max_values:
        return
    # A text begins with a quote that no backslash stands before; one that ends in a backslash of its own hides its second quote only.
    texts = body.count(b'"') - body.count(b'\\"')
    bare = b"" if texts > _QUOTES * max_values else _TEXTS.sub(b"", body)
    if not bare or bare.count(b"[") + bare.count(b"{") + bare.count(b",") > 2 * max_values:
        raise _not_json(f"the body has more than {max_values} values, which is more than this version can take")
    depth = 0
    for mark in re.findall(rb"[\[\]{}]", bare):
        depth += _DEPTH_STEP[mark[0]]
        if depth > MAX_DEPTH:
            raise _not_json(f"the body is nested more than {MAX_DEPTH} deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse_repeated(pairs)
    names = "".join(found)
    if not names.isascii():
        _refuse_halves(names)
    return found


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    """Refuse the first name that comes again.

    In one pass: an object may have a hundred thousand names.
    """
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _NameError(f"field {name[:64]!r} comes twice")
        seen.add(name)


def _refuse_halves(names: str) -> None:
    """Refuse names that no message can hold and no error could show."""
    try:
        names.encode()
    except UnicodeEncodeError:
        raise _NameError("a field's name holds half a character (an unpaired surrogate)") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _not_json(message: str) -> RefusedError:
    return RefusedError(Problem(400, message))
