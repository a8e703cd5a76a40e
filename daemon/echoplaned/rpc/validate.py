"""What a request may hold: the field rules of the protos, and no field that this version does not know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import Violation

# Rules over several fields name no field of their own; this is the one to change.
_FIELD_OF_RULE: Mapping[str, str] = {
    "update.version": "source_uri",
    "policy.stages_percent.order": "stages_percent",
    "policy.stage_time.order": "stage_min_s",
}
_KEY_CHARS = 64

_validator = protovalidate.Validator()


def check(request: Message) -> None:
    """Check a request whole.

    Raises:
        FieldInvalidError: with every violation there is.
    """
    violations = [*_unknown_fields(request, ""), *_broken_rules(request)]
    if violations:
        raise FieldInvalidError(*violations)


def _broken_rules(request: Message) -> Iterator[Violation]:
    for violation in _validator.collect_violations(request):
        found = violation.proto
        path = _path(found.field) if found.field else ""
        own = _FIELD_OF_RULE.get(found.rule_id or "")
        if own is not None:
            path = f"{path}.{own}" if path else own
        yield Violation(path, f"{found.message or found.rule_id}{' (key)' if found.for_key else ''}")


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


def _unknown_fields(message: Message, path: str) -> Iterator[Violation]:
    # The stub of UnknownFieldSet lacks iteration, which is all that there is to it.
    for unknown in cast(Iterable[Any], UnknownFieldSet(message)):
        number = str(unknown.field_number)
        text = f"{message.DESCRIPTOR.full_name} has no field with this number in this version of the API"
        yield Violation(f"{path}.{number}" if path else number, text)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        inner = f"{path}.{field.name}" if path else field.name
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
