"""Messages as JSON, the way that every route prints them."""

from __future__ import annotations

from typing import Final

from google.api import httpbody_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

JSON: Final = "application/json"


def to_json(message: Message) -> str:
    """Return a message as JSON on one line.

    Fields are named as in the protos, those with default values are there too, and 64-bit numbers are text.
    """
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    )


def to_body(message: Message) -> httpbody_pb2.HttpBody:
    """Return a message as a whole answer."""
    return httpbody_pb2.HttpBody(content_type=JSON, data=f"{to_json(message)}\n".encode())
