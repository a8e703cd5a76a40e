"""From what the transcoder sends to the API's own request, checked whole."""

from __future__ import annotations

from typing import Any, Final, cast

import structlog
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.rpc.interceptor import MAX_LOGGED_ID
from echoplaned.rpc.rest.context import GatewayContext
from echoplaned.rpc.rest.original_path import ORIGINAL_PATH, check_parameters, read_original
from echoplaned.rpc.rest.routes import Route
from echoplaned.rpc.rest.scalar_form import find_form_fault
from echoplaned.rpc.rest.strict_json import BODY, read_json
from echoplaned.rpc.validate import check

_JSON_TYPES: Final = frozenset({"", "application/json"})
_BOOLEANS: Final = {"true": True, "false": False}


def read_request(route: Route, sent: Any, context: GatewayContext) -> Message:  # noqa: ANN401 - a class a route
    """Return the API's request that a call of a route asks for.

    Args:
        route: that was taken.
        sent: the transcoder's message.
        context: of the call.

    Raises:
        FieldInvalidError: path, query or body say something that the route does not take, or break a rule of the request.
    """
    path = context.metadata(ORIGINAL_PATH)
    if not path:
        raise FieldInvalidError(InvalidField(ORIGINAL_PATH, "is missing: these methods are for the gateway alone"))
    original = read_original(path, route.path)
    parameters = check_parameters(original.parameters, route.parameters)
    for name, value in original.variables.items():
        if getattr(sent, name) != value:
            raise FieldInvalidError(InvalidField(name, "is another one than the path says"))
    request = route.request()
    _read_body(route, sent, request)
    _set_parameters(request, parameters)
    for field, template in route.names.items():
        setattr(request, field, template.format(**original.variables))
    if own := getattr(request, "request_id", ""):
        structlog.contextvars.bind_contextvars(request_id=str(own)[:MAX_LOGGED_ID])
    check(request)
    return request


def _read_body(route: Route, sent: Any, request: Message) -> None:  # noqa: ANN401 - as above
    if "content" not in sent.DESCRIPTOR.fields_by_name or (not sent.content.data and not _needs_body(route)):
        return
    if not route.has_body:
        raise FieldInvalidError(InvalidField(BODY, "this route takes none: say it in the query"))
    kind = sent.content.content_type.partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        # A page in a browser may send any other type to this machine without asking first.
        raise FieldInvalidError(InvalidField("content-type", "must be application/json"))
    read_json(sent.content.data, request, frozenset(route.names))


def _needs_body(route: Route) -> bool:
    """Whether the body says what the path does not."""
    return route.has_body and not route.names


def _set_parameters(request: Message, parameters: dict[str, str]) -> None:
    fields = request.DESCRIPTOR.fields_by_name
    violations = []
    for name, text in parameters.items():
        value: object = text
        if fields[name].type == FieldDescriptor.TYPE_BOOL:
            value = _BOOLEANS.get(text, text)
        if find_form_fault(value, cast(FieldDescriptor, fields[name])) or not _takes(request, name, value):
            what = "true or false" if fields[name].type == FieldDescriptor.TYPE_BOOL else "a whole number in its range"
            violations.append(InvalidField(name, f"must be {what}"))
    if violations:
        raise FieldInvalidError(*violations)


def _takes(request: Message, name: str, value: object) -> bool:
    """Set a field; false: the value is not in its range, and nothing is set."""
    try:
        ParseDict({name: value}, request)
    except ParseError:
        return False
    return True
