"""The document about the routes, by a validator of others."""

from __future__ import annotations

import json

from google.api import annotations_pb2
from openapi_spec_validator import OpenAPIV31SpecValidator

from echoplane.v1 import diagnostics_pb2, models_pb2
from echoplaned.rpc.rest.openapi import openapi, openapi_json
from echoplaned.rpc.rest.routes import ROUTES

from .rest_world import API

TEN = {
    ("get", f"{API}/status"),
    ("get", f"{API}/metrics"),
    ("get", f"{API}/models"),
    ("get", f"{API}/models/{{name}}"),
    ("get", f"{API}/health/{{name}}"),
    ("post", f"{API}/load"),
    ("post", f"{API}/update"),
    ("post", f"{API}/health_check/{{name}}"),
    ("delete", f"{API}/models/{{name}}"),
    ("get", "/health"),
}


def test_the_document_is_valid() -> None:
    """OpenAPI 3.1 by its own schema, with every reference leading somewhere."""
    document = json.loads(openapi_json("0.1.0"))
    assert [*OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_route_is_described() -> None:
    """Each with its errors, and a body where it takes one."""
    paths = openapi("0.1.0")["paths"]
    described = {(verb, path) for path, verbs in paths.items() for verb in verbs}
    assert {(route.verb, route.path) for route in ROUTES} | {
        ("get", "/v1/models"),
        ("get", "/v1/models/{id}"),
    } == described
    assert described >= TEN
    for route in ROUTES:
        operation = paths[route.path][route.verb]
        assert operation["summary"], route.method
        assert operation["responses"].keys() == {"200", "default"}
        assert ("requestBody" in operation) == route.has_body


def test_the_ten_routes_are_those_of_the_public_protos() -> None:
    """Verb and path of each are the same in both places."""
    found = set()
    for module in (models_pb2, diagnostics_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                if rule.WhichOneof("pattern"):
                    found.add((rule.WhichOneof("pattern"), getattr(rule, rule.WhichOneof("pattern"))))
    assert found == TEN


def test_schemas_say_what_json_format_writes() -> None:
    """64-bit numbers are text, enumerations names, times text; a body that may hold nothing else says so, with its rules."""
    schemas = openapi("0.1.0")["components"]["schemas"]
    load = schemas["echoplane.v1.LoadModelRequest"]
    assert load["additionalProperties"] is False
    assert load["properties"]["model_id"]["pattern"].startswith("^[a-z]")
    assert load["properties"]["replicas"] == {"type": "integer", "format": "int32", "minimum": 0, "maximum": 64}
    assert load["properties"]["aliases"]["maxItems"] == 8
    assert "DTYPE_INT8" in schemas["echoplane.v1.Dtype"]["enum"]
    assert schemas["echoplane.v1.DeviceSummary"]["properties"]["free_bytes"] == {"type": "string", "format": "int64"}
    assert schemas["echoplane.v1.Model"]["properties"]["create_time"] == {"type": "string", "format": "date-time"}
