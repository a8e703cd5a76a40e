"""Headers and paths that the filters and the routes of the gateway agree on."""

from __future__ import annotations

from typing import Final

from echoplaned.xds.conversations import CONVERSATION_HEADER
from echoplaned.xds.gateway import MODEL_HEADER, OPENAI_PREFIX

__all__ = ["CONVERSATION_HEADER", "MODEL_HEADER", "OPENAI_PREFIX"]

USER_HEADER: Final = "x-echoplane-conversation"
"""The body's ``user``, which stands for a conversation where the header is not given; no engine sees it."""

KEY_HEADER: Final = "x-echoplane-key"
"""A caller's key, from whichever header it came in, on its way to the filter that looks it up; nobody behind the gateway sees it."""

LIMIT_HEADER: Final = "x-echoplane-limit"
"""How many requests a minute the caller's key may make; nobody behind the gateway sees it."""

VERSION_HEADER: Final = "x-model-version"
"""In every answer of a model: which version answered, or would have; in none to a caller that was not let in."""

REFUSED_HEADER: Final = "x-echoplane-refused"
"""In the gateway's own answer to a caller that was not let in, on its way to the filter that takes the version out of it."""

RESERVED_PREFIXES: Final = ("echoplane-", "x-echoplane-", "x-envoy-")
"""Headers that only the gateway sets; a caller could choose another model by them, or change retries."""

TRANSPORT_SUFFIX: Final = "-bin"
ODD_NAMES: Final = "(?:[^:a-z0-9._-]|[^:].*[^a-z0-9._-]).*"
TRANSPORT_HEADERS: Final = (
    "grpc-previous-rpc-attempts",
    "grpc-retry-pushback-ms",
    "grpc-internal-encoding-request",
    "grpc-status",
    "grpc-message",
)
"""Headers that gRPC's transport reads itself: what it cannot read it answers with INTERNAL, which would count as the engine's error."""

OIP_PREFIX: Final = "/v2/"
ANTHROPIC_PATHS: Final = f"{OPENAI_PREFIX}messages.*"
OIP_SERVICE: Final = "inference.GRPCInferenceService"
GRPC_TYPE: Final = "application/grpc"

KEYS: Final = "echoplane-keys"
SCOPES: Final = "echoplane-scopes"
LIMITS: Final = "echoplane-limits"
"""Filters that know who calls, and the extensions that each is served (``clients``)."""
