"""Which JSON values a field takes that holds no message.

That is protobuf's JSON mapping. Its parser for Python takes more: ``"1_0"`` and digits of other scripts for numbers, ``true`` for an
enum's name.
"""

from __future__ import annotations

import re
from typing import Final

from google.protobuf.descriptor import FieldDescriptor as Field

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NO_NUMBERS: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_REAL: Final = frozenset({Field.CPPTYPE_DOUBLE, Field.CPPTYPE_FLOAT})
_WORDS: Final = {
    Field.CPPTYPE_BOOL: "must be true or false",
    Field.CPPTYPE_STRING: "must be text",
    Field.CPPTYPE_ENUM: "must be one of its names",
    Field.CPPTYPE_DOUBLE: "must be a number",
    Field.CPPTYPE_FLOAT: "must be a number",
}


def find_form_fault(value: object, field: Field) -> str:
    """Return why a value cannot be a field's; empty: its form is right.

    Of a repeated field it is one of the entries. Whether a number is in its field's range is left to the parser.
    """
    kind = field.cpp_type
    if kind == Field.CPPTYPE_BOOL:
        right = isinstance(value, bool)
    elif kind in {Field.CPPTYPE_STRING, Field.CPPTYPE_ENUM}:
        right = isinstance(value, str) or (kind == Field.CPPTYPE_ENUM and _is_number(value))
    elif isinstance(value, str):
        right = _NUMBER.fullmatch(value) is not None or (kind in _REAL and value in _NO_NUMBERS)
    else:
        right = _is_number(value)
    return "" if right else _WORDS.get(kind, "must be a whole number")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
