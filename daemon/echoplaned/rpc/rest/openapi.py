"""The REST routes as OpenAPI 3.1, from the descriptors that the transcoder uses."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any, Final, cast

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from echoplane.googleapis import operations_pb2, status_pb2
from echoplane.v1 import diagnostics_pb2, models_pb2, rollouts_pb2
from echoplaned.ports.keys import Role
from echoplaned.rpc.models import ModelService
from echoplaned.rpc.operations import OperationsService
from echoplaned.rpc.rest.descriptors import OPENAI_SERVICE
from echoplaned.rpc.rest.routes import ROUTES, Route
from echoplaned.rpc.rest.schemas import Schema, SchemaBook
from echoplaned.rpc.rollouts import RolloutService
from echoplaned.rpc.status_service import StatusService

VERSION: Final = "3.1.0"
_TITLE: Final = "Echoplane"
_MODULES: Final = (models_pb2, rollouts_pb2, diagnostics_pb2, operations_pb2)
_SERVICERS: Final = (ModelService, RolloutService, StatusService, OperationsService)
_VARIABLE: Final = re.compile(r"\{(\w+)(?:=\*\*)?\}")
_KEY: Final = "A key of the gateway, `ep_...`; made with `echoplane key create`."
_ERRORS: Final = "google.rpc.Status: `code` is the gRPC code, and `details` say the reason (google.rpc.ErrorInfo)."


def openapi_json(daemon_version: str) -> bytes:
    """Return the document."""
    return f"{json.dumps(openapi(daemon_version), separators=(',', ':'))}\n".encode()


def openapi(daemon_version: str) -> Schema:
    """Return the document as values of JSON."""
    book = SchemaBook()
    error = {
        "description": _ERRORS,
        "content": {"application/json": {"schema": book.message(status_pb2.Status.DESCRIPTOR)}},
    }
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.verb] = _operation(route, book)
    for method in OPENAI_SERVICE.methods:
        path = method.GetOptions().Extensions[annotations_pb2.http].get
        named = [_path_parameter(name) for name in _VARIABLE.findall(path)]
        answer = _answer(book.message(method.output_type))
        paths[_VARIABLE.sub(r"{\1}", path)] = {"get": _described(method.name, "", named, answer)}
    return {
        "openapi": VERSION,
        "info": {"title": _TITLE, "version": daemon_version},
        "paths": paths,
        # Whether a caller needs a key is the gateway's setting; what changes something always does.
        "security": [{}, {"key": []}],
        "components": {
            "schemas": dict(sorted(book.schemas.items())),
            "responses": {"Error": error},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEY}},
        },
    }


def _operation(route: Route, book: SchemaBook) -> Schema:
    method, answer = _api_method(route.method)
    fields = route.request.DESCRIPTOR.fields_by_name
    parameters = [_path_parameter(name) for name in _VARIABLE.findall(route.path)]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": book.field(cast(FieldDescriptor, fields[name]))}
        for name in route.parameters
    ]
    if route.is_stream:
        content = {"text/event-stream": {"schema": {"type": "string"}}}
        reference = book.message(answer)["$ref"]
        text = f"Server-sent events; the data of each is {reference.rpartition('/')[2]} as JSON. A failure is an event `failure`."
        answers: Schema = {"200": {"description": text, "content": content}}
        parameters.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}})
    else:
        answers = _answer(book.message(answer))
    found = _described(route.method, (inspect.getdoc(method) or "").partition("\n")[0], parameters, answers)
    if route.role is not Role.VIEWER:
        found["security"] = [{"key": []}]
    if route.has_body:
        schema = book.message(cast(Descriptor, route.request.DESCRIPTOR), closed=True)
        required = not route.names
        found["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return found


def _described(name: str, summary: str, parameters: list[Schema], answers: Schema) -> Schema:
    found: Schema = {"operationId": name}
    if summary:
        found["summary"] = summary
    if parameters:
        found["parameters"] = parameters
    return found | {"responses": answers | {"default": {"$ref": "#/components/responses/Error"}}}


def _answer(schema: Schema) -> Schema:
    return {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _api_method(name: str) -> tuple[Any, Descriptor]:
    """Return the servicer's method of this name, and the message it answers with.

    A stream answers with messages of this type.

    Raises:
        LookupError: no service of the API has such a method.
    """
    for module in _MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            if name in service.methods_by_name:
                method = next(getattr(each, name) for each in _SERVICERS if hasattr(each, name))
                return method, service.methods_by_name[name].output_type
    raise LookupError(f"no service of the API has a method {name}")
