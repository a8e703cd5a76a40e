"""Writes a model's id into bodies that name it by an alias.

So engines that know their own name only take them. The value alone is replaced:
 Envoy's own transformation would write the whole body anew, with its numbers as doubles.
"""

from __future__ import annotations

from typing import Final

from envoy.extensions.filters.http.lua.v3 import lua_pb2
from google.protobuf import any_pb2, struct_pb2

from echoplaned.xds.door.structure import TEXT_END
from echoplaned.xds.messages import pack_any

SCRIPT: Final = "rename"
MAX_TEXTS: Final = 500_000
"""Texts and brackets that are looked at before the name; a body with more before it goes on as it is."""

# The body is JSON that names no field twice: else no alias was found in it. A text of the first level that a colon follows is a field.
SOURCE: Final = f"""
{TEXT_END}
local function value_of_model(body)
  local depth, at = 0, 1
  for _ = 1, {MAX_TEXTS} do
    local found = string.find(body, '["{{}}%[%]]', at)
    if found == nil then return nil end
    local mark = string.byte(body, found)
    at = found + 1
    if mark == 34 then
      local closing = text_end(body, at)
      if closing == nil then return nil end
      at = closing + 1
      if depth == 1 and string.sub(body, found, closing) == '"model"' then
        local _, opening = string.find(body, '^%s*:%s*"', at)
        if opening ~= nil then return opening, text_end(body, opening + 1) end
      end
    elseif mark == 123 or mark == 91 then
      depth = depth + 1
    else
      depth = depth - 1
    end
  end
end

function envoy_on_request(handle)
  local id = handle:filterContext():get("model")
  local body = handle:body()
  if body == nil then return end
  local text = body:getBytes(0, body:length())
  local opening, closing = value_of_model(text)
  if closing == nil then return end
  local length = body:setBytes(string.sub(text, 1, opening) .. id .. string.sub(text, closing))
  handle:headers():replace("content-length", length)
end
"""


def renamed_to(model: str) -> any_pb2.Any:
    """Return what a route of an alias adds: bodies name this model."""
    context = struct_pb2.Struct()
    context.update({"model": model})
    return pack_any(lua_pb2.LuaPerRoute(name=SCRIPT, filter_context=context))
