"""Envoy's own errors in the shape of the protocol that the caller speaks.

Mappers are tried in order, the first that matches counts. An answer of the route table (``answers``) passes here too, so no mapper
matches what is written there already.
"""

from __future__ import annotations

from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from echoplaned.xds.door.answers import (
    ASKED_MODEL,
    NOT_ALLOWED,
    TOO_MANY,
    UNAUTHENTICATED,
    Json,
    anthropic_error,
    json_format,
    oip_error,
    openai_error,
    rpc_error,
    text_format,
)
from echoplaned.xds.door.filters import MAX_BODY_BYTES
from echoplaned.xds.door.names import (
    ANTHROPIC_PATHS,
    GRPC_TYPE,
    MODEL_HEADER,
    OIP_PREFIX,
    OPENAI_PREFIX,
    REFUSED_HEADER,
)

RETRY_AFTER_S: Final = 1
_TOO_LARGE: Final = f"The body is larger than {MAX_BODY_BYTES} bytes."
_UNAVAILABLE: Final = "No engine of this model answers now (%RESPONSE_CODE_DETAILS%)."
_NO_SUCH_METHOD: Final = "Models are read here, with GET."
_TOO_SLOW: Final = "The request did not arrive whole within its time."
_NO_SUCH_PATH: Final = "Nothing is served at this path."
_NOT_SPOKEN: Final = f"The model `{ASKED_MODEL}` does not answer at this path."
_TRANSCODED: Final = "x-envoy-original-path"
_RPC_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14, 504: 4}
"""gRPC's codes of HTTP's, as Google's APIs map them: https://cloud.google.com/apis/design/errors#handling_errors"""

_Comparison = accesslog_pb2.ComparisonFilter
_Filter = accesslog_pb2.AccessLogFilter


def local_replies() -> hcm_pb2.LocalReplyConfig:
    """Return the mappers."""
    openai, oip = _path(f"{OPENAI_PREFIX}.*"), _path(f"{OIP_PREFIX}.*")
    rest = _path(f"(?:{OPENAI_PREFIX}|{OIP_PREFIX}).*", but=True)
    repository = _path(f"{OIP_PREFIX}(?:health|repository)/.*")
    listing = _path(f"{OPENAI_PREFIX}models(?:[/?].*)?")
    no_route = _Filter(response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=["NR"]))
    failed = _status(500, _Comparison.GE)
    wait = [_header("retry-after", str(RETRY_AFTER_S))]
    return hcm_pb2.LocalReplyConfig(
        mappers=[
            *_grpc_errors(),
            *_refusals(),
            _mapper(
                _all(openai, no_route), openai_error(_NOT_SPOKEN, "invalid_request_error", code="unsupported_endpoint")
            ),
            _mapper(
                _all(openai, _status(413)), openai_error(_TOO_LARGE, "invalid_request_error", code="body_too_large")
            ),
            *(
                _mapper(_all(listing, _status(status)), openai_error(_NO_SUCH_METHOD, "invalid_request_error"))
                for status in (404, 405)
            ),
            _mapper(
                _all(openai, _status(408)), openai_error(_TOO_SLOW, "invalid_request_error", code="request_timeout")
            ),
            _mapper(_all(oip, _status(408)), oip_error(_TOO_SLOW)),
            _mapper(_all(openai, failed), openai_error(_UNAVAILABLE, "server_error", code="model_unavailable"), wait),
            _mapper(_all(repository, _status(404)), oip_error(_NO_SUCH_PATH)),
            _mapper(_all(oip, no_route), oip_error(_NOT_SPOKEN)),
            _mapper(_all(oip, _status(413)), oip_error(_TOO_LARGE)),
            _mapper(_all(oip, failed), oip_error(_UNAVAILABLE), wait),
            _mapper(_all(rest, no_route), rpc_error(_RPC_CODES[404], _NO_SUCH_PATH)),
            *(
                _mapper(
                    _all(rest, _status(status)),
                    rpc_error(code, "%LOCAL_REPLY_BODY%"),
                    wait if status == 503 else None,
                )
                for status, code in _RPC_CODES.items()
            ),
        ]
    )


def _refusals() -> list[hcm_pb2.ResponseMapper]:
    """Return the answers to callers without the right key, or with too many requests.

    A gRPC caller's status follows from the HTTP status; the message is set here. The native API's refusal has its own text. Each is
    marked: which version would have answered is no business of such a caller.
    """
    # Of what answers 403 only one knows a model: the filter that looks at scopes.
    ways: tuple[tuple[accesslog_pb2.AccessLogFilter, int, str, str, str, list[base_pb2.HeaderValueOption]], ...] = (
        (
            _status(401),
            401,
            UNAUTHENTICATED,
            "authentication_error",
            "invalid_api_key",
            [_header("www-authenticate", "Bearer")],
        ),
        (_all(_status(403), _is_set(MODEL_HEADER)), 403, NOT_ALLOWED, "permission_error", "model_not_allowed", []),
        (_status(429), 429, TOO_MANY, "rate_limit_error", "rate_limit_exceeded", []),
    )
    found = []
    marks = [_header(REFUSED_HEADER, "1")]
    for met, status, text, kind, code, own in ways:
        headers = [*own, *marks]
        found += [
            # What is the body elsewhere is gRPC's message.
            hcm_pb2.ResponseMapper(
                filter=_all(_grpc(), met), body_format_override=text_format(text), headers_to_add=marks
            ),
            _mapper(_all(_path(ANTHROPIC_PATHS), met), anthropic_error(text, kind), headers),
            _mapper(_all(_path(f"{OPENAI_PREFIX}.*"), met), openai_error(text, kind, code=code), headers),
            _mapper(_all(_path(f"{OIP_PREFIX}.*"), met), oip_error(text), headers),
            _mapper(met, rpc_error(_RPC_CODES[status], text), headers),
        ]
    return found


def _mapper(
    condition: accesslog_pb2.AccessLogFilter, body: Json, headers: list[base_pb2.HeaderValueOption] | None = None
) -> hcm_pb2.ResponseMapper:
    return hcm_pb2.ResponseMapper(filter=condition, body_format_override=json_format(body), headers_to_add=headers)


def _grpc_errors() -> list[hcm_pb2.ResponseMapper]:
    """Return what makes gRPC's codes of statuses that Envoy reads as others.

    So 404 is NOT_FOUND, which would be UNIMPLEMENTED. What is the body elsewhere is gRPC's message, and Envoy escapes it: a header put
    together here could hold a line's end.
    """
    unknown, unnamed = f"model '{ASKED_MODEL}' does not exist", "the request names no model, or none that can exist"
    # A call over REST is gRPC's too, once the transcoder has written it anew; its caller reads JSON.
    native = _all(_grpc(), _is_set(_TRANSCODED, but=True))
    ways = (
        (_all(native, _status(404), _is_set(MODEL_HEADER)), 404, unknown),
        (_all(native, _status(404)), 404, unnamed),
        *((_all(native, _status(each)), each, "%LOCAL_REPLY_BODY%") for each in (400, 405)),
    )
    return [
        hcm_pb2.ResponseMapper(
            filter=met,
            body_format_override=text_format(text),
            headers_to_add=[_header("grpc-status", str(_RPC_CODES[status]))],
        )
        for met, status, text in ways
    ]


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _all(*conditions: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    return _Filter(and_filter=accesslog_pb2.AndFilter(filters=conditions))


def _status(status: int, op: accesslog_pb2.ComparisonFilter.Op = _Comparison.EQ) -> accesslog_pb2.AccessLogFilter:
    # Envoy wants a key by which the number could be changed at run time; nothing sets it.
    value = base_pb2.RuntimeUInt32(default_value=status, runtime_key="echoplane.unset")
    return _Filter(status_code_filter=accesslog_pb2.StatusCodeFilter(comparison=_Comparison(op=op, value=value)))


def _path(pattern: str, *, but: bool = False) -> accesslog_pb2.AccessLogFilter:
    regex = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=pattern))
    matcher = route_components_pb2.HeaderMatcher(name=":path", string_match=regex, invert_match=but)
    return _Filter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


def _is_set(name: str, *, but: bool = False) -> accesslog_pb2.AccessLogFilter:
    matcher = route_components_pb2.HeaderMatcher(name=name, present_match=True, invert_match=but)
    return _Filter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


def _grpc() -> accesslog_pb2.AccessLogFilter:
    prefix = string_pb2.StringMatcher(prefix=GRPC_TYPE)
    matcher = route_components_pb2.HeaderMatcher(name="content-type", string_match=prefix)
    return _Filter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))
