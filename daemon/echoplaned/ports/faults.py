"""How adapters report to the loop what their jobs raised."""

from __future__ import annotations

from collections.abc import Callable

from echoplaned.core.fault import EffectKey

ReportFault = Callable[[EffectKey, BaseException], None]
"""Tell the loop that the work of an effect raised, so that it is tried again. From the loop's thread only; never raises."""
