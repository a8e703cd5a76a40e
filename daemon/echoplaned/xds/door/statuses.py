"""Writes the daemon's errors in OIP's REST form, and in OpenAI's.

They come as ``google.rpc.Status``: the transcoder knows one form only. The message is taken as it stands: a JSON text stays one.
"""

from __future__ import annotations

from typing import Final

from envoy.extensions.filters.http.lua.v3 import lua_pb2
from google.protobuf import any_pb2, struct_pb2

from echoplaned.xds.door.structure import TEXT_END
from echoplaned.xds.messages import pack_any

SCRIPT: Final = "errors"

SOURCE: Final = (
    TEXT_END
    + """
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = tonumber(headers:get(":status"))
  if status < 400 then return end
  local body = handle:body()
  if body == nil then return end
  local text = body:getBytes(0, body:length())
  -- What the gateway itself refused has its form already.
  if string.find(text, '^%s*{%s*"error"') ~= nil then return end
  local _, opening = string.find(text, '"message"%s*:%s*"')
  if opening == nil then return end
  local closing = text_end(text, opening + 1)
  if closing == nil then return end
  local form = handle:filterContext()
  local after = form:get(status == 404 and "after_not_found" or "after")
  local length = body:setBytes(form:get("before") .. string.sub(text, opening + 1, closing - 1) .. after)
  headers:replace("content-length", length)
end
"""
)


def as_oip() -> any_pb2.Any:
    """Return what a route adds whose errors are OIP's."""
    return _as_form('{"error":"', '"}', '"}')


def as_openai() -> any_pb2.Any:
    """Return what a route adds whose errors are OpenAI's."""
    after = '","type":"invalid_request_error","param":"model","code":{}}}}}'
    return _as_form('{"error":{"message":"', after.format("null"), after.format('"model_not_found"'))


def _as_form(before: str, after: str, after_not_found: str) -> any_pb2.Any:
    context = struct_pb2.Struct()
    context.update({"before": before, "after": after, "after_not_found": after_not_found})
    return pack_any(lua_pb2.LuaPerRoute(name=SCRIPT, filter_context=context))
