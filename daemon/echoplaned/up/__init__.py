"""``echoplaned up``: the daemon with defaults, a model, and what to type next.

It is the daemon that ``serve`` runs; what is here works out its settings, and then is a client of it like any other.
"""

from echoplaned.up.defaults import PreparedUp, prepare
from echoplaned.up.guide import Guide, UpError
from echoplaned.up.next_calls import NextCalls, next_calls

__all__ = ["Guide", "NextCalls", "PreparedUp", "UpError", "next_calls", "prepare"]
