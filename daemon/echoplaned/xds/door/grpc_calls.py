"""Refuses gRPC calls that no gRPC server reads.

They come by another method than POST, or with bad values of its transport's headers. gRPC's own server answers them with INTERNAL, or
resets, before the engine hears of them, and that would count as the version's error. One such value also spoils the calls of others,
as all share the gateway's connections to an engine.
"""

from __future__ import annotations

import re
from typing import Final

from envoy.config.core.v3 import base_pb2
from xds.type.matcher.v3 import matcher_pb2

from echoplaned.xds.door import answers, filters, matching
from echoplaned.xds.door.names import GRPC_TYPE, OIP_SERVICE

TRANSPORT_ONLY: Final = ("grpc-timeout", "grpc-encoding", "grpc-accept-encoding")
"""Headers that a call over REST has no use for: the transcoder would pass them on."""

_TIMEOUT: Final = f"(?:{'|'.join(f'0{{{n}}}[1-9][0-9]{{0,{7 - n}}}' for n in range(8))})[HMSmun]"
_ENCODING: Final = "identity|gzip|deflate"
_BAD_TIMEOUT: Final = "The header `grpc-timeout` must be 1 to 8 digits, not all of them 0, and one of H, M, S, m, u, n."
_BAD_ENCODING: Final = "The header `grpc-encoding` must be identity, gzip or deflate."
_POST_ONLY: Final = "A gRPC call is a POST."


def refused_calls() -> list[matcher_pb2.Matcher.MatcherList.FieldMatcher]:
    """Return the entries that come before all others of the table."""
    is_grpc = matching.header_is("content-type", f"{re.escape(GRPC_TYPE)}.*")
    is_oip = matching.header_is(":path", rf"/{re.escape(OIP_SERVICE)}/.*")
    no_post = matching.header_is_not(":method", "POST")
    bad_values = (
        ("grpc-timeout", _TIMEOUT, _BAD_TIMEOUT),
        ("grpc-encoding", _ENCODING, _BAD_ENCODING),
    )
    return [
        *(
            matching.when_all((each, no_post), _refusal("grpc-method", answers.NOT_ALLOWED_METHOD, _POST_ONLY))
            for each in (is_grpc, is_oip)
        ),
        *(
            matching.when_all(
                (is_grpc, matching.header_is(name, "(?s).*"), matching.header_is_not(name, wanted)),
                _refusal(name, answers.BAD_REQUEST, text),
            )
            for name, wanted, text in bad_values
        ),
    ]


def trailers_wanted() -> base_pb2.HeaderValueOption:
    """Return the header that every gRPC server asks for.

    Envoy passes it on only where the caller sent it.
    """
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key="te", value="trailers"),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _refusal(name: str, status: int, text: str) -> matcher_pb2.Matcher.OnMatch:
    refused = answers.answer(name, status, None, filters.passed_by_grpc())
    refused.direct_response.body.inline_string = text
    return matching.route(refused)
