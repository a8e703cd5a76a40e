"""Checks of what a request may hold.

So many bytes and entries, the field rules of the protos, clean text, no field that nobody knows.

What is large is refused before it is read: a message by its bytes before it is parsed, a field by its entries before any is read.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.text import is_clean

# Rules over several fields name no field of their own; this is the one to change.
_FIELD_OF_RULE: Mapping[str, str] = {
    "update.version": "source_uri",
    "policy.stages_percent.order": "stages_percent",
    "policy.stage_time.order": "stage_min_s",
}
_KEY_CHARS = 64

MAX_REQUEST_BYTES: Final = 1024 * 1024
"""Of one request to any service; the longest that keeps every rule has about 400 KB, and a batch of plans is a list of such."""

MAX_SHORT_REQUEST_BYTES: Final = 4096
MAX_ENTRIES: Final = 1000
"""Entries of one list or map; where a rule allows fewer, the rule says so itself."""

MAX_VIOLATIONS: Final = 100
"""Violations of one kind that are collected; a status carries fewer."""

# Requests that hold a name and little else. Health's Watch keeps its for as long as it lasts.
_SHORT_PACKAGES = ("grpc.health.", "grpc.reflection.", "google.longrunning.")

_UNCLEAN = "must hold no control characters and no marks that hide or turn text round: leave them out"

_validator = protovalidate.Validator()


def parse(raw: bytes, from_bytes: Callable[[bytes], Message], method: str = "") -> Message:
    """Return the message in these bytes.

    Args:
        raw: what came.
        from_bytes: its deserializer.
        method: ``/package.Service/Method``, which says how large it may be.

    Raises:
        FieldInvalidError: they are too many, or no such message.
    """
    most = MAX_SHORT_REQUEST_BYTES if method[1:].startswith(_SHORT_PACKAGES) else MAX_REQUEST_BYTES
    if len(raw) > most:
        raise FieldInvalidError(
            InvalidField("", f"the request has {len(raw)} bytes, at most {most} are read: send less")
        )
    try:
        return from_bytes(raw)
    except DecodeError:
        raise FieldInvalidError(InvalidField("", "these bytes are no request of this method")) from None


def check(request: Message) -> None:
    """Check a request whole.

    Raises:
        FieldInvalidError: with every violation there is, but for a field with far too many entries: then with those fields alone.
    """
    crowded = list(itertools.islice(_crowded_fields(request, ""), MAX_VIOLATIONS))
    if crowded:
        raise FieldInvalidError(*crowded)
    found = (_unknown_fields(request, ""), _broken_rules(request))
    violations = [violation for each in found for violation in itertools.islice(each, MAX_VIOLATIONS)]
    named = {violation.field for violation in violations}
    unclean = itertools.islice(_unclean_texts(request, ""), MAX_VIOLATIONS)
    # A pattern says it already where there is one: a field is named once.
    violations += [violation for violation in unclean if violation.field not in named]
    if violations:
        raise FieldInvalidError(*violations)


def _crowded_fields(message: Message, path: str) -> Iterator[InvalidField]:
    for field, value, inner in _set_fields(message, path):
        if field.is_repeated and len(value) > MAX_ENTRIES:
            yield InvalidField(inner, f"has {len(value)} entries, far more than are allowed: nothing of it was read")
        elif field.message_type is not None:
            for step, child in _children(field, value):
                yield from _crowded_fields(child, f"{inner}{step}")


def _unclean_texts(message: Message, path: str) -> Iterator[InvalidField]:
    """Yield the fields whose text holds what cannot be seen.

    It would end up in tables and logs.
    """
    for field, value, inner in _set_fields(message, path):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, one in value.items():
                if not all(is_clean(text) for text in (key, one) if isinstance(text, str)):
                    yield InvalidField(f"{inner}[{_subscript(key)}]", _UNCLEAN)
        elif field.type == FieldDescriptor.TYPE_STRING:
            texts = value if field.is_repeated else (value,)
            if not all(map(is_clean, texts)):
                yield InvalidField(inner, _UNCLEAN)
        if field.message_type is not None:
            for step, child in _children(field, value):
                yield from _unclean_texts(child, f"{inner}{step}")


def _set_fields(message: Message, path: str) -> Iterator[tuple[FieldDescriptor, Any, str]]:
    for field, value in message.ListFields():
        yield field, value, f"{path}.{field.name}" if path else field.name


def _broken_rules(request: Message) -> Iterator[InvalidField]:
    for violation in _validator.collect_violations(request):
        found = violation.proto
        path = _path(found.field) if found.field else ""
        own = _FIELD_OF_RULE.get(found.rule_id or "")
        if own is not None:
            path = f"{path}.{own}" if path else own
        yield InvalidField(path, f"{found.message or found.rule_id}{' (key)' if found.for_key else ''}")


def _path(field: Any) -> str:  # noqa: ANN401 - protovalidate's own message class, which it does not export
    parts: list[str] = []
    for element in field.elements:
        subscript = element.subscript
        index = "" if subscript is None else f"[{_subscript(subscript.value)}]"
        parts.append(f"{element.field_name}{index}")
    return ".".join(parts)


def _subscript(value: object) -> str:
    # A key comes from the caller: quoted, so that no newline of it gets into a log line, and bounded.
    return json.dumps(value[:_KEY_CHARS]) if isinstance(value, str) else str(value)


def _unknown_fields(message: Message, path: str) -> Iterator[InvalidField]:
    # The stub of UnknownFieldSet lacks iteration, which is all that there is to it.
    for unknown in cast(Iterable[Any], UnknownFieldSet(message)):
        number = str(unknown.field_number)
        text = f"{message.DESCRIPTOR.full_name} has no field with this number in this version of the API"
        yield InvalidField(f"{path}.{number}" if path else number, text)
    for field, value, inner in _set_fields(message, path):
        if field.message_type is None:
            continue
        for step, child in _children(field, value):
            yield from _unknown_fields(child, f"{inner}{step}")


def _children(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Message]]:  # noqa: ANN401 - by the field's type
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        if kind.fields_by_name["value"].message_type is not None:
            yield from ((f"[{_subscript(key)}]", child) for key, child in value.items())
    elif field.is_repeated:
        yield from ((f"[{index}]", child) for index, child in enumerate(value))
    else:
        yield "", value
