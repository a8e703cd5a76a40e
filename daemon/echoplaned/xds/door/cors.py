"""What web pages may do: which origins the gateway answers, and with what.

Envoy's own filter for this looks at the first route that it finds, and lets every request pass whose route answers by itself. Here that
is every request, as its model is in its body. So a script does it, which no request runs where no origin is given.
Cookies and other credentials of a browser are never allowed: a key goes in a header that the page sets itself.
See https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from typing import Final

from envoy.extensions.filters.http.lua.v3 import lua_pb2
from google.protobuf import any_pb2, struct_pb2

from echoplaned.core.origins import EVERY_ORIGIN
from echoplaned.xds.door.names import CONVERSATION_HEADER, VERSION_HEADER
from echoplaned.xds.messages import pack_any

SCRIPT: Final = "pages"
ENGINES_OWN: Final = tuple(
    f"access-control-{name}"
    for name in ("allow-origin", "allow-credentials", "allow-methods", "allow-headers", "expose-headers", "max-age")
)
"""Headers that some engines answer with, whoever asks: who may call them is decided here alone."""

_MAX_AGE_S: Final = 600
_METHODS: Final = "GET, POST, OPTIONS"
_STAINLESS: Final = (
    *("arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version", "poll-helper"),
    *("read-timeout", "retry-count", "runtime", "runtime-version", "timeout"),
)
_HEADERS: Final = ", ".join(
    (
        *("authorization", "content-type", "accept", "user-agent", "idempotency-key"),
        *("openai-organization", "openai-project", "openai-beta"),
        *("x-api-key", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"),
        *(f"x-stainless-{name}" for name in _STAINLESS),
        *("inference-header-content-length", "x-request-id", CONVERSATION_HEADER),
    )
)
"""Those that OpenAI's and Anthropic's own clients send from a browser, Triton's, and ours."""

_EXPOSED: Final = ", ".join((VERSION_HEADER, "retry-after", "x-request-id", "inference-header-content-length"))

SOURCE: Final = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local origin = headers:get("origin")
  if origin == nil then return end
  local context = handle:filterContext()
  local origins = context:get("origins")
  if not (origins["{EVERY_ORIGIN}"] or origins[origin]) then return end
  handle:streamInfo():dynamicMetadata():set("{SCRIPT}", "origin", origin)
  if headers:get(":method") ~= "OPTIONS" or headers:get("access-control-request-method") == nil then return end
  local answer = {{
    [":status"] = "204",
    ["access-control-allow-origin"] = origin,
    ["access-control-allow-methods"] = "{_METHODS}",
    ["access-control-allow-headers"] = "{_HEADERS}",
    ["access-control-max-age"] = "{_MAX_AGE_S}"
  }}
  if origins[origin] and headers:get("access-control-request-private-network") == "true" then
    answer["access-control-allow-private-network"] = "true"
  end
  handle:respond(answer)
end

function envoy_on_response(handle)
  local found = handle:streamInfo():dynamicMetadata():get("{SCRIPT}")
  if found == nil then return end
  local headers = handle:headers()
  headers:replace("access-control-allow-origin", found["origin"])
  headers:replace("access-control-expose-headers", "{_EXPOSED}")
  headers:add("vary", "origin")
end
"""


def allowed_pages(origins: tuple[str, ...]) -> any_pb2.Any:
    """Return what a route table adds for some origins.

    A page that is named may also come from a public address to the gateway's private one, where a browser asks for that; of every page
    this is not said.
    """
    context = struct_pb2.Struct()
    context.update({"origins": dict.fromkeys(origins, True)})
    return pack_any(lua_pb2.LuaPerRoute(name=SCRIPT, filter_context=context))
