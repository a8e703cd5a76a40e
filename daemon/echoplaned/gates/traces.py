"""Telemetry as the gates see it. Engines make it, and adapters do not know each other: its types are the runtime's."""

from __future__ import annotations

from echoplaned.runtime.traces import UNSOUND, RequestTrace, TraceFlag, TraceKind

__all__ = ["UNSOUND", "RequestTrace", "TraceFlag", "TraceKind"]
