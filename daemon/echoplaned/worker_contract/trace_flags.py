"""What happened to a request that was traced.

The bits are those of ``worker.proto``.
"""

from __future__ import annotations

from enum import IntFlag


class WireTraceFlag(IntFlag):
    """Bits of ``Trace.flags``."""

    NONE = 0
    STOPPED = 1
    """The model ended the answer itself, with a stop token."""
    SAMPLED = 2
    """Tokens were drawn; without it the likeliest was taken."""
    CANCELLED = 4
    """The caller went away: the tokens are those until then."""
    FAILED = 8
    """The model failed: the tokens are those until then."""
    CUT = 16
    """The answer has more tokens than a trace holds: these are its first."""
