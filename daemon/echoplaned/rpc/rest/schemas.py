"""Messages as JSON schemas, in the form that json_format gives them.

Of the protos' own validation rules, the plain ones are in the schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from echoplane._third_party import validate_pb2

Schema: TypeAlias = dict[str, Any]

_F: Final = FieldDescriptor
# 64-bit numbers are text in JSON, as not every reader of it has so many digits.
_SCALARS: Final[Mapping[int, Schema]] = MappingProxyType(
    {
        _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
        _F.TYPE_FLOAT: {"type": "number", "format": "float"},
        _F.TYPE_INT64: {"type": "string", "format": "int64"},
        _F.TYPE_UINT64: {"type": "string", "format": "uint64"},
        _F.TYPE_INT32: {"type": "integer", "format": "int32"},
        _F.TYPE_UINT32: {"type": "integer", "format": "uint32"},
        _F.TYPE_BOOL: {"type": "boolean"},
        _F.TYPE_STRING: {"type": "string"},
        _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    }
)
_WELL_KNOWN: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
        "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d+)?s$"},
        "google.protobuf.FieldMask": {"type": "string"},
        "google.protobuf.Empty": {"type": "object"},
        "google.protobuf.Any": {
            "type": "object",
            "properties": {"@type": {"type": "string"}},
            "required": ["@type"],
            "additionalProperties": True,
        },
    }
)


class SchemaBook:
    """Collects the schemas of messages and of what they hold.

    Attributes:
        schemas: by component name, the full name of the message or enumeration.
    """

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def message(self, kind: Descriptor, *, closed: bool = False) -> Schema:
        """Return a reference to a message's schema; a well-known type's schema itself.

        ``closed``: other fields are refused, as in a body.
        """
        known = _WELL_KNOWN.get(kind.full_name)
        if known is not None:
            return dict(known)
        if kind.full_name not in self.schemas:
            schema: Schema = {"type": "object"}
            self.schemas[kind.full_name] = schema  # before its fields: a message may hold itself
            schema["properties"] = {field.name: self.field(field) for field in kind.fields}
            if closed:
                schema["additionalProperties"] = False
        return _reference(kind.full_name)

    def field(self, field: FieldDescriptor) -> Schema:
        """Return a field's schema with its rules."""
        rules = field.GetOptions().Extensions[validate_pb2.field]
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            values = self._single(kind.fields_by_name["value"])
            return {"type": "object", "additionalProperties": values} | _bounds(maxProperties=rules.map.max_pairs)
        if field.is_repeated:
            items = self._single(field) | _text_rules(rules.repeated.items.string)
            unique = {"uniqueItems": True} if rules.repeated.unique else {}
            return {"type": "array", "items": items} | _bounds(maxItems=rules.repeated.max_items) | unique
        return self._single(field) | _text_rules(rules.string) | _number_rules(rules.int32)

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _enum(self, kind: EnumDescriptor) -> Schema:
        self.schemas.setdefault(kind.full_name, {"type": "string", "enum": [value.name for value in kind.values]})
        return _reference(kind.full_name)


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _text_rules(rules: Any) -> Schema:  # noqa: ANN401 - protovalidate's own message, which has no types
    pattern = {"pattern": rules.pattern} if rules.pattern else {}
    return pattern | _bounds(minLength=rules.min_len, maxLength=rules.max_len)


def _number_rules(rules: Any) -> Schema:  # noqa: ANN401 - as above
    return ({"minimum": rules.gte} if rules.HasField("gte") else {}) | (
        {"maximum": rules.lte} if rules.HasField("lte") else {}
    )


def _bounds(**bounds: int) -> Schema:
    return {name: bound for name, bound in bounds.items() if bound}
