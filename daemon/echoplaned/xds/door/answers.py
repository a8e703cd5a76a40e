"""Answers that the gateway's routes give by themselves, such as 404 and 400.

A model that is not named, or does not exist.


They are values of Envoy's substitution format; what stands between percent signs is filled in, and escaped, a request.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.route.v3 import route_components_pb2
from google.protobuf import any_pb2, struct_pb2

from echoplaned.xds.door.names import MODEL_HEADER

NOT_FOUND: Final = 404
BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
NOT_ALLOWED_METHOD: Final = 405
ASKED_MODEL: Final = f"%REQ({MODEL_HEADER}):128%"
"""As long as an alias may be: what a caller writes beyond that is not repeated."""

Json = dict[str, Any]


def openai_error(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> Json:
    """Return an error as OpenAI's API writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def oip_error(message: str) -> Json:
    """Return an error as the Open Inference Protocol's REST form writes it."""
    return {"error": message}


def rpc_error(code: int, message: str) -> Json:
    """Return an error as a ``google.rpc.Status``."""
    return {"code": code, "message": message}


def json_format(body: Json) -> substitution_format_string_pb2.SubstitutionFormatString:
    """Return the body's format; its content type is JSON."""
    found = struct_pb2.Struct()
    found.update(body)
    return substitution_format_string_pb2.SubstitutionFormatString(json_format=found, content_type="application/json")


def text_format(text: str) -> substitution_format_string_pb2.SubstitutionFormatString:
    """Return the format of a line of text."""
    return substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=base_pb2.DataSource(inline_string=text)
    )


def answer(
    name: str, status: int, body: Json | None, overrides: dict[str, any_pb2.Any] | None = None
) -> route_components_pb2.Route:
    """Return a route that answers by itself."""
    action = route_components_pb2.DirectResponseAction(status=status)
    if body is not None:
        action.body_format.CopyFrom(json_format(body))
    return route_components_pb2.Route(
        name=name,
        match=route_components_pb2.RouteMatch(prefix="/"),
        direct_response=action,
        typed_per_filter_config=overrides,
    )


NATIVE_REFUSED: Final = (
    "The gateway does not serve the control API over gRPC: use its REST routes, or the daemon's own address or socket."
)
UNAUTHENTICATED: Final = (
    "No valid key came with the request: send one as `authorization: Bearer ep_...` or `x-api-key`."
)
NOT_ALLOWED: Final = f"The key may not call the model `{ASKED_MODEL}`."
TOO_MANY: Final = "The key has used up its requests of this minute."


def anthropic_error(message: str, kind: str) -> Json:
    """Return an error as Anthropic's API writes it."""
    return {"type": "error", "error": {"type": kind, "message": message}}


NO_SUCH_MODEL: Final = openai_error(
    f"The model `{ASKED_MODEL}` does not exist.", "invalid_request_error", param="model", code="model_not_found"
)
NO_MODEL_NAMED: Final = openai_error(
    "The body must be a JSON object (`content-type: application/json`), not compressed, in which no field comes twice, with the name of a"
    " model in its field `model`.",
    "invalid_request_error",
    param="model",
    code="model_required",
)
NO_SUCH_OIP_MODEL: Final = oip_error(f"model '{ASKED_MODEL}' does not exist")
