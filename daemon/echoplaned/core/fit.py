"""What is said of a plan that does not fit: one text, whoever finds it out."""

from __future__ import annotations

from echoplaned.core.errors import MemoryInsufficientError, SurgeInfeasibleError
from echoplaned.core.plan import Plan


def unfit(plan: Plan) -> MemoryInsufficientError | SurgeInfeasibleError:
    """Return the error of a plan that does not fit, with the bytes needed and free, what would fit, and the plan itself."""
    text = _text(plan)
    return SurgeInfeasibleError(text, plan) if plan.surge else MemoryInsufficientError(text, plan)


def require_fit(plan: Plan) -> Plan:
    """Return a plan that fits.

    Raises:
        SurgeInfeasibleError: it does not, beside the version that it would replace.
        MemoryInsufficientError: it does not.
    """
    if not plan.fits:
        raise unfit(plan)
    return plan


def _text(plan: Plan) -> str:
    beside = " beside the version that is serving" if plan.surge else ""
    devices = "; ".join(f"{d.device_id} has {d.free_bytes} of {d.needed_bytes} bytes free" for d in plan.devices)
    count = len(plan.alternatives)
    instead = f"{count} alternatives fit, see the plan" if count else "nothing near it fits: free memory first"
    return f"{plan.replicas} x {plan.upper_bytes} bytes do not fit{beside} ({devices or 'no device'}); {instead}"
