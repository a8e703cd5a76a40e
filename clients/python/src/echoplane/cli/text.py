"""Messages as text: tables for people, JSON for programs, lines for errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Final, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import DecodeError, Message
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from echoplane.cli.escaping import escape, escape_json, escape_lines
from echoplane.cli.telling import enum_word
from echoplane.errors import EchoplaneError, UnreadableError
from echoplane.v1 import plans_pb2, types_pb2

Plain = dict[str, object]
_LEAST_GIB: Final = 0.001
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
# proto3's JSON writes 64-bit integers as strings for JavaScript's sake; every other reader wants numbers.
_LONG: Final = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)


def to_plain(message: Message) -> Plain:
    """Return a message as JSON values.

    They have the proto's field names, every field without presence, and 64-bit integers as numbers.

    Raises:
        UnreadableError: something in it has no form in JSON, a time that no calendar has or an ``Any`` that is no message.
    """
    try:
        values = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    # An Any of a type that is not known here is a TypeError.
    except (SerializeToJsonError, DecodeError, ValueError, OverflowError, TypeError) as error:
        raise UnreadableError(f"{message.DESCRIPTOR.name} is not to be had as JSON: {error}") from error
    return _numbers(cast(Plain, values), cast(Descriptor, message.DESCRIPTOR))


def _numbers(values: Plain, descriptor: Descriptor) -> Plain:
    if descriptor.full_name.startswith("google.protobuf."):
        return values
    return {
        name: _number(value, descriptor.fields_by_name[name]) if name in descriptor.fields_by_name else value
        for name, value in values.items()
    }


def _number(value: object, field: FieldDescriptor) -> object:
    if isinstance(value, list):
        return [_number(item, field) for item in value]
    if field.type in _LONG and isinstance(value, str):
        return int(value)
    if isinstance(value, dict) and field.message_type is not None and not field.message_type.GetOptions().map_entry:
        return _numbers(value, field.message_type)
    return value


def to_json(value: object) -> str:
    """Return JSON for a value or for messages, indented."""
    return escape_json(json.dumps(value, indent=2, ensure_ascii=False))


def to_json_line(message: Message) -> str:
    """Return JSON for a message on one line."""
    return escape_json(json.dumps(to_plain(message), ensure_ascii=False))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Return rows as a table.

    It is drawn on a terminal, and has aligned columns without cutting anything in a pipe.
    """
    rows = [[escape(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        return _drawn(headers, rows, title)
    widths = [max(len(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ([header.upper() for header in headers], *rows)
    ]
    return "\n".join([*([title] if title else []), *lines])


def _drawn(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> str:
    drawing = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        drawing.add_column(header, overflow="fold")
    for row in rows:
        drawing.add_row(*(Text(cell) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(drawing)
    return capture.get().rstrip("\n")


def pairs(entries: Iterable[tuple[str, str]]) -> str:
    """Return names and values, one a line.

    Those without a value are left out, further lines of a value are indented.
    """
    shown = [(name, value) for name, value in entries if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {escape_lines(value, ' ' * (width + 2))}" for name, value in shown)


def size(count: int) -> str:
    """Return bytes for people: 86.7 MiB."""
    value, unit = float(count), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def gibibytes(count: int) -> str:
    """Return bytes in GiB whatever their number.

    So figures under each other compare: 14.96 GiB, 0.0846 GiB.
    """
    value = count / 1024**3
    if 0 < value < _LEAST_GIB:
        return f"< {_LEAST_GIB} GiB"
    if value >= 1000:
        return f"{value:,.0f} GiB"
    return f"{value:.1f} GiB" if value >= 100 else f"{value:.2f} GiB" if value >= 1 else f"{value:.3g} GiB"


def percent(weight_ppm: int) -> str:
    """Return a weight in millionths as percent, without useless zeros: 5 %, 99.9999 %."""
    return f"{weight_ppm / 10_000:.4f}".rstrip("0").rstrip(".") + " %"


def dtype(value: types_pb2.Dtype) -> str:
    """Return a dtype's short name."""
    return enum_word(types_pb2.Dtype, value)


def error_lines(error: EchoplaneError) -> list[str]:
    """Return what went wrong and what to do, line by line."""
    failure = error.failure
    first, *more = failure.message.split("\n")
    lines = [f"error: {error.reason}: {first}", *(f"  {line}" for line in more)]
    lines += [f"  {violation.field}: {violation.description}" for violation in failure.field_violations]
    lines += [f"  {violation.subject}: {violation.description}" for violation in failure.violations]
    if failure.resource:
        lines.append(f"  about: {failure.resource}")
    if error.plan is not None:
        lines += plan_lines(error.plan)
    if failure.retry_delay_s is not None:
        lines.append(f"  try again in: {failure.retry_delay_s:g} s")
    if error.advice:
        lines.append(f"what to do: {error.advice}")
    return lines


def plan_lines(plan: plans_pb2.Plan) -> list[str]:
    """Return what a plan needs, what is free and what would fit."""
    lines = [
        f"  needs: {size(plan.upper_bytes)} an instance ({plan.upper_bytes} bytes), {max(plan.replicas, 1)} of them",
        *(f"  {fit.device_id}: {size(fit.free_bytes)} free of {size(fit.needed_bytes)} needed" for fit in plan.devices),
    ]
    for other in plan.alternatives:
        what = f"{dtype(other.dtype)}, context {other.context_length}, {other.max_concurrency} at once"
        warning = f"; {other.warning}" if other.warning else ""
        lines.append(f"  would fit: {what} on {other.device_id}, {size(other.upper_bytes)}{warning}")
    return lines + [f"  warning: {warning}" for warning in plan.warnings]
