"""Refuses JSON bodies of too many values before Envoy's parser takes them.

That parser holds its thread for about a microsecond a value, and half a kilobyte of memory: 16 MiB of empty objects were 14 s in which
nobody else was answered, and gigabytes. Counting marks costs a few milliseconds a MiB, whatever the body holds.
"""

from __future__ import annotations

import json
from typing import Final

from echoplaned.xds.door.answers import Json, anthropic_error, openai_error
from echoplaned.xds.door.names import ANTHROPIC_PATHS

MAX_MARKS: Final = 400_000
"""Of ``[ { , :`` outside of texts: more than the 300,000 token ids that OpenAI takes at once, and than our own engine's values."""

_TOO_MANY: Final = (
    f"The body has more than {MAX_MARKS} brackets, commas and colons outside of texts: send fewer values at once."
)
_ANTHROPIC: Final = ANTHROPIC_PATHS.removesuffix(".*")


def _text(body: Json) -> str:
    """Return an answer as a literal of the script."""
    return f"[==[{json.dumps(body)}]==]"


_PIECE_BYTES: Final = 65_536

TEXT_END: Final = """
local byte, find = string.byte, string.find

-- Backslashes in a row before a place, of which none is before the lowest: an odd number of them hides what stands there.
local function is_hidden(piece, at, lowest)
  local before = at - 1
  while before >= lowest and byte(piece, before) == 92 do before = before - 1 end
  return (at - before) % 2 == 0
end

local function text_end(piece, at)
  local lowest = at
  while true do
    at = find(piece, '"', at, true)
    if at == nil then return nil, is_hidden(piece, #piece + 1, lowest) end
    if not is_hidden(piece, at, lowest) then return at, false end
    at = at + 1
  end
end
"""
"""Finds the quote that ends a text: however many backslashes are in it, each is looked at once or twice, and compiled."""

# One look at each byte, in loops that the just-in-time compiler takes: a pattern's search is none of them. The body comes in pieces, as
# a copy of all of it would cost more than the count. Between two texts of a JSON body there is a mark, so more texts than marks are no
# JSON, and need not be gone through either.
SOURCE: Final = f"""
{TEXT_END}
local function is_large(body)
  local marks, texts, inside, hidden = 0, 0, false, false
  local length = body:length()
  for from = 0, length - 1, {_PIECE_BYTES} do
    local piece = body:getBytes(from, math.min({_PIECE_BYTES}, length - from))
    local at, last = hidden and 2 or 1, #piece
    hidden = false
    while at <= last do
      if inside then
        at, hidden = text_end(piece, at)
        if at == nil then break end
        inside = false
      else
        local found = byte(piece, at)
        if found == 34 then
          inside = true
          texts = texts + 1
          if texts > {MAX_MARKS} + 1 then return true end
        elseif found == 44 or found == 58 or found == 91 or found == 123 then
          marks = marks + 1
          if marks > {MAX_MARKS} then return true end
        end
      end
      at = at + 1
    end
  end
  return false
end

function envoy_on_request(handle)
  local body = handle:body()
  if body == nil or body:length() <= {MAX_MARKS} then return end
  if not is_large(body) then return end
  local path = handle:headers():get(":path") or ""
  local answer = {_text(openai_error(_TOO_MANY, "invalid_request_error", code="too_many_values"))}
  if string.sub(path, 1, {len(_ANTHROPIC)}) == "{_ANTHROPIC}" then
    answer = {_text(anthropic_error(_TOO_MANY, "invalid_request_error"))}
  end
  handle:respond({{[":status"] = "400", ["content-type"] = "application/json"}}, answer)
end
"""
