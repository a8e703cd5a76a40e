"""Checks of what a request may hold.

So many bytes and entries, the field rules of the protos, clean text, no field that nobody knows.

What is large is refused before it is read: a message by its bytes before it is parsed, a field by its entries before any is read.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Final, cast

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from echoplane._third_party import validate_pb2
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
"""Entries of one list or map that no rule bounds; and of a whole request whose broken rules are all collected."""

MAX_UNKNOWN_BYTES: Final = 16 * 1024
"""Of fields that nobody knows, in a whole request: a newer client's few are named, any number of them is not read."""

MAX_VIOLATIONS: Final = 100
"""Violations of one kind that are collected; a status carries fewer."""

# Requests that hold a name and little else. A Watch, of whatever service, keeps its for as long as it lasts.
_SHORT_PACKAGES = ("grpc.health.", "grpc.reflection.", "google.longrunning.")
_SHORT_METHODS = "Watch"

_UNCLEAN = "must hold no control characters, nothing that hides or turns text round, and 4 marks upon a letter at most"

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
    is_short = method[1:].startswith(_SHORT_PACKAGES) or method.rpartition("/")[2].startswith(_SHORT_METHODS)
    most = MAX_SHORT_REQUEST_BYTES if is_short else MAX_REQUEST_BYTES
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
        FieldInvalidError: with every violation there is, but for a field with more entries than it may have: then with those fields
            alone. Of a request with more than ``MAX_ENTRIES`` entries it names the first broken rule only.
    """
    # Sizes first: the rules are evaluated on every entry, and the evaluation cannot be stopped at so many violations.
    too_many = list(itertools.islice(_crowded_fields(request, ""), MAX_VIOLATIONS))
    if too_many:
        raise FieldInvalidError(*too_many)
    _check_unknown_bytes(request)
    found = (_unknown_fields(request, ""), _broken_rules(request))
    violations = [violation for each in found for violation in itertools.islice(each, MAX_VIOLATIONS)]
    named = {violation.field for violation in violations}
    violations += itertools.islice(_unclean_texts(request, "", named), MAX_VIOLATIONS)
    if violations:
        raise FieldInvalidError(*violations)


def compile_rules(request: type[Message]) -> None:
    """Compile the rules of a request, for which its first call would wait."""
    _validator.collect_violations(request(), fail_fast=True)


@cache
def most_entries(field: FieldDescriptor) -> int:
    """Return how many entries a list or map may have.

    That is what its rule says, else ``MAX_ENTRIES``.
    """
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return int(rules.repeated.max_items or rules.map.max_pairs or MAX_ENTRIES)


def crowded(path: str, count: int, most: int) -> InvalidField:
    """Return the violation of a list or map with more entries than it may have."""
    return InvalidField(path, f"has {count} entries, at most {most} are allowed: nothing of it was read")


def _crowded_fields(message: Message, path: str) -> Iterator[InvalidField]:
    for field, value, inner in _set_fields(message, path):
        if field.is_repeated and len(value) > most_entries(field):
            yield crowded(inner, len(value), most_entries(field))
        elif field.message_type is not None:
            for step, child in _children(field, value):
                yield from _crowded_fields(child, f"{inner}{step}")


def _entries(message: Message) -> int:
    """Return how many entries all lists and maps of a message have together."""
    count = 0
    for field, value, _ in _set_fields(message, ""):
        count += len(value) if field.is_repeated else 0
        if field.message_type is not None:
            count += sum(_entries(child) for _, child in _children(field, value))
    return count


def _check_unknown_bytes(request: Message) -> None:
    size = request.ByteSize()
    if size <= MAX_UNKNOWN_BYTES:
        return
    known = type(request)()
    known.CopyFrom(request)
    known.DiscardUnknownFields()
    unknown = size - known.ByteSize()
    if unknown > MAX_UNKNOWN_BYTES:
        text = f"holds {unknown} bytes of fields that this version of the API does not have: none of it was read"
        raise FieldInvalidError(InvalidField("", text))


def _unclean_texts(message: Message, path: str, named: AbstractSet[str]) -> Iterator[InvalidField]:
    """Yield the fields whose text holds what cannot be seen.

    It would end up in tables and logs. A field is ``named`` once: where a rule says already that its text is none, it is not read, which
    may be a mebibyte.
    """
    for field, value, inner in _set_fields(message, path):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, one in value.items():
                entry = f"{inner}[{_subscript(key)}]"
                if entry not in named and not all(is_clean(text) for text in (key, one) if isinstance(text, str)):
                    yield InvalidField(entry, _UNCLEAN)
        elif field.type == FieldDescriptor.TYPE_STRING and inner not in named:
            texts = value if field.is_repeated else (value,)
            if not all(map(is_clean, texts)):
                yield InvalidField(inner, _UNCLEAN)
        if field.message_type is not None:
            for step, child in _children(field, value):
                yield from _unclean_texts(child, f"{inner}{step}", named)


def _set_fields(message: Message, path: str) -> Iterator[tuple[FieldDescriptor, Any, str]]:
    for field, value in message.ListFields():
        yield field, value, f"{path}.{field.name}" if path else field.name


def _broken_rules(request: Message) -> Iterator[InvalidField]:
    # The first one is found without evaluating the rest; all of them where there cannot be many.
    found_first = _validator.collect_violations(request, fail_fast=True)
    few = bool(found_first) and _entries(request) <= MAX_ENTRIES
    for violation in _validator.collect_violations(request) if few else found_first:
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
