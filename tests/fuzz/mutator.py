"""Inputs made of valid ones: bytes that are turned, cut, doubled and spliced, and messages whose fields hold extremes.

Deterministic: the same seed makes the same inputs, so that a finding is found again by its number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

MAX_BYTES: Final = 64 * 1024
"""Of an input, but for those that are made large on purpose."""

_LARGE_BYTES: Final = 5 * 1024 * 1024
_LARGE_SHARE: Final = 0.002
_MAX_KEPT: Final = 256
_MAX_DEPTH: Final = 6
_MAX_ADDED: Final = 2000

_BYTES: Final = (
    b"\x00",
    b"\xff" * 10,
    b"\x80" * 11,
    b"\xff\xff\xff\xff\x0f",
    b"\xed\xa0\x80",  # a surrogate, which is no UTF-8
    b"\xe2\x80\xae",  # turns text round
    b"\x1b[2J",
    b"NaN",
    b"Infinity",
    b"1e400",
    b"-0",
    b"9" * 5000,
    b"[" * 5000,
    b'{"a":' * 2000,
    b"\\ud800",
    b"null",
    b"true",
    b"[]",
    b"{}",
)
_INTEGERS: Final = (0, 1, -1, 2, 255, 2**16, 2**31 - 1, -(2**31), 2**32 - 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)
_REALS: Final = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    5e-324,
    1.7e308,
    1e300,
    65535.5,
    1e-300,
)
_TEXTS: Final = (
    "",
    "a",
    "m",
    "models/m",
    "models/m/versions/v1",
    "models/m/versions/",
    "*",
    "text",
    "input_ids",
    "INT64",
    "BYTES",
    "\x00",
    "a\nb",
    "\x1b[31m",
    "\u202egnp",
    "\u2028",
    "é" * 300,
    "a" * 5000,
    "../../etc/passwd",
    "%s%n{0}",
    "127.0.0.1",
    "::1",
    "999.1.1.1",
    "truncate",
    "score",
)
_INTEGER_BITS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}


class Mutator:
    """Makes inputs without end.

    Args:
        seeds: valid inputs.
        random: where chance comes from.
        message: makes an empty message, where the inputs are messages of protobuf; None: they are bytes or text.
    """

    def __init__(self, seeds: Sequence[bytes], random: Random, message: Callable[[], Message] | None = None) -> None:
        self._seeds = list(seeds)
        self._valid = len(self._seeds)
        self._random = random
        self._message = message

    def next(self) -> bytes:
        """Return another input."""
        random = self._random
        data = random.choice(self._seeds)
        for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
            is_message = self._message is not None and random.random() < 0.7
            data = self._change_message(data) if is_message else self._change_bytes(data)
        if random.random() < _LARGE_SHARE and data:
            return (data * (1 + _LARGE_BYTES // len(data)))[: random.randrange(MAX_BYTES, _LARGE_BYTES)]
        return data[:MAX_BYTES]

    def keep(self, data: bytes) -> None:
        """Make an input a seed, because it ended as none before it did; the oldest such one goes where there are too many."""
        self._seeds.append(data)
        if len(self._seeds) > self._valid + _MAX_KEPT:
            del self._seeds[self._valid]

    def _change_bytes(self, data: bytes) -> bytes:
        random, at = self._random, self._random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 1, 2, 4, 16, 256)))
        other = random.choice(self._seeds)
        middle, rest = random.choice(
            (
                (bytes((random.randrange(256),)), at + 1),
                (random.choice(_BYTES), at),
                (b"", end),
                (data[at:end] * random.choice((2, 3, 50, 1000)), end),
                (other[random.randrange(len(other) + 1) :], len(data)),
                (struct.pack("<Q", random.choice(_INTEGERS) & (2**64 - 1)), at + 8),
                (b"", len(data)),
            )
        )
        return data[:at] + middle + data[rest:]

    def _change_message(self, data: bytes) -> bytes:
        if self._message is None:
            return data
        message = self._message()
        try:
            message.ParseFromString(data)
        except DecodeError:
            return self._change_bytes(data)
        self._change_fields(message, 0)
        return bytes(message.SerializeToString())

    def _change_fields(self, message: Any, depth: int) -> None:
        """Change one field of a message, or of one within it."""
        random = self._random
        field = random.choice(message.DESCRIPTOR.fields) if message.DESCRIPTOR.fields else None
        if field is None:
            return
        if random.random() < 0.15:
            message.ClearField(field.name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._change_map(message, field, depth)
        elif field.is_repeated:
            self._change_list(getattr(message, field.name), field, depth)
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            if depth < _MAX_DEPTH:
                self._change_fields(getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, self._value(field))

    def _change_list(self, values: Any, field: FieldDescriptor, depth: int) -> None:
        random = self._random
        if values and random.random() < 0.3:
            del values[random.randrange(len(values))]
            return
        if values and field.message_type is not None and random.random() < 0.6 and depth < _MAX_DEPTH:
            self._change_fields(random.choice(values), depth + 1)
            return
        for _ in range(random.choice((1, 1, 1, 2, 20, _MAX_ADDED if field.message_type is None else 200))):
            if field.message_type is None:
                values.append(self._value(field))
            elif values and random.random() < 0.5:
                values.add().CopyFrom(random.choice(values))
            else:
                values.add()

    def _change_map(self, message: Any, field: FieldDescriptor, depth: int) -> None:
        entries = getattr(message, field.name)
        key_field, value_field = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        known = sorted(entries)
        key = self._random.choice(known) if known and self._random.random() < 0.6 else self._value(key_field)
        if value_field.message_type is None:
            entries[key] = self._value(value_field)
        elif depth < _MAX_DEPTH:
            self._change_fields(entries[key], depth + 1)

    def _value(self, field: FieldDescriptor) -> Any:
        """Return a value that a field can hold."""
        random = self._random
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                text = random.choice(_TEXTS)
                return text.encode() + random.choice((b"", *_BYTES)) if field.type == field.TYPE_BYTES else text
            case FieldDescriptor.CPPTYPE_BOOL:
                return random.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return random.choice(_REALS)
            case kind:
                low, high = _INTEGER_BITS[kind]
                return min(high, max(low, random.choice(_INTEGERS)))
