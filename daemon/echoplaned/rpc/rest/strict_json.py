"""A JSON body as a message, strictly: unknown fields are refused.

The error has their names and places. The transcoder would drop them silently.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, Final, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.rpc.rest.json_shape import MAX_DEPTH, find_fault
from echoplaned.rpc.rest.scalar_form import find_form_fault
from echoplaned.rpc.rest.shown import MAX_SHOWN_CHARS, shown
from echoplaned.rpc.validate import MAX_REQUEST_BYTES, MAX_VIOLATIONS, crowded, most_entries

BODY: Final = "body"
"""What an error names that is about no field of it."""

_DESCRIPTION_CHARS: Final = 200
_IN_FIELD: Final = re.compile(r"Failed to parse (\w+) field: ")
_AT_PLACE: Final = re.compile(r" at \w+\.([\w.\[\]]+)$")


def read_json(body: bytes, message: Message, taken: frozenset[str] = frozenset()) -> None:
    """Read a body into a message.

    Args:
        body: as it came.
        message: takes what is read.
        taken: fields that the path says already.

    Raises:
        FieldInvalidError: it is too large or too deep, is no JSON object, or is none of this message.
    """
    value = read_object(body)
    wrong = list(itertools.islice(_wrong_names(value, cast(Descriptor, message.DESCRIPTOR), "", taken), MAX_VIOLATIONS))
    if wrong:
        raise FieldInvalidError(*wrong)
    try:
        json_format.ParseDict(value, message, max_recursion_depth=MAX_DEPTH)
    except json_format.ParseError as error:
        raise FieldInvalidError(_violation(str(error))) from None
    except (RecursionError, ValueError, TypeError, OverflowError):  # an infinity in place of an enum's number, say
        raise FieldInvalidError(InvalidField(BODY, f"is no {message.DESCRIPTOR.full_name}")) from None


def read_object(body: bytes, most: int = MAX_REQUEST_BYTES) -> dict[str, Any]:
    """Read a body that holds one JSON object, in which no field comes twice.

    No text in it holds half of a surrogate pair, which nothing else could write out.

    Args:
        body: as it came.
        most: bytes that it may have.

    Raises:
        FieldInvalidError: it does not, or is too large or too deep.
    """
    if len(body) > most:
        raise _refused(f"has {len(body)} bytes, at most {most} are read: send less")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("is no UTF-8") from None
    if fault := find_fault(text):
        raise _refused(fault)
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_number)
    except ValueError as error:  # of an integer with thousands of digits, too
        raise _refused(f"is no JSON: {_cut(str(error), _DESCRIPTION_CHARS)}") from None
    if not isinstance(value, dict):
        raise _refused("must be a JSON object")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} is said twice")
        found[name] = value
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _wrong_names(value: object, kind: Descriptor, path: str, taken: frozenset[str]) -> Iterator[InvalidField]:
    """Yield the fields of a JSON value that its message may not have in this form.

    These are fields that the message does not have, that come under both their names, that the path says already (``taken``), or that
    are no object where the message has a message.
    """
    if kind.full_name.startswith("google.protobuf.") or value is None:
        return  # a form of its own, such as a duration's text; null leaves a field as it is
    if not isinstance(value, dict):
        yield InvalidField(path, "must be an object")
        return
    fields = {f.json_name: f for f in kind.fields} | {f.name: f for f in kind.fields}
    said: set[str] = set()
    for name, one in value.items():
        field = fields.get(name)
        inner = f"{path}.{shown(name)}" if path else shown(name)
        if field is None:
            yield InvalidField(inner, f"{kind.full_name} has no such field{_nearest(name, kind)}")
        elif field.name in said:
            yield InvalidField(inner, f"is said twice, as {field.name} and as {field.json_name}")
        elif field.name in taken:
            yield InvalidField(inner, "is said by the path: leave it out of the body")
        else:
            said.add(field.name)
            yield from _wrong_within(one, field, inner)


def _wrong_within(value: object, field: FieldDescriptor, path: str) -> Iterator[InvalidField]:
    kind = field.message_type
    if field.is_repeated and isinstance(value, dict | list) and len(value) > most_entries(field):
        yield crowded(path, len(value), most_entries(field))
        return
    if value is None:
        return
    if kind is not None and kind.GetOptions().map_entry:
        if not isinstance(value, dict):
            yield InvalidField(path, "must be an object")
            return
        for key, one in value.items():
            yield from _wrong_entry(one, kind.fields_by_name["value"], f"{path}[{json.dumps(key[:MAX_SHOWN_CHARS])}]")
    elif not field.is_repeated:
        yield from _wrong_entry(value, field, path)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _wrong_entry(one, field, f"{path}[{index}]")
    else:
        yield InvalidField(path, "must be a list")


def _wrong_entry(value: object, field: FieldDescriptor, path: str) -> Iterator[InvalidField]:
    """Yield what is wrong with one value of a field.

    It is the only one, or one of a list or of a map.
    """
    if field.message_type is not None:
        yield from _wrong_names(value, field.message_type, path, frozenset())
    elif fault := find_form_fault(value, field):
        yield InvalidField(path, fault)


def _nearest(name: str, kind: Descriptor) -> str:
    close = difflib.get_close_matches(name[:MAX_SHOWN_CHARS], [field.name for field in kind.fields], 1)
    return f"; did you mean {close[0]}?" if close else ""


def _violation(text: str) -> InvalidField:
    """Return what protobuf says of a value, at the field that its words lead to."""
    path: list[str] = []
    while (found := _IN_FIELD.match(text)) is not None:
        path.append(found[1])
        text = text[found.end() :]
    text = text.rstrip(".")
    place = _AT_PLACE.search(text)
    if place is not None:
        return InvalidField(place[1], _cut(text[: place.start()], _DESCRIPTION_CHARS))
    return InvalidField(".".join(path), _cut(text, _DESCRIPTION_CHARS))


def _refused(text: str) -> FieldInvalidError:
    return FieldInvalidError(InvalidField(BODY, text))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
