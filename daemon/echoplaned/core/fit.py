"""The error text of a plan that does not fit: one, whoever finds it out."""

from __future__ import annotations

from echoplaned.core.errors import MemoryInsufficientError, SurgeInfeasibleError
from echoplaned.core.memory import foreign_text
from echoplaned.core.plan import DeviceFit, Plan


def fit_error(plan: Plan) -> MemoryInsufficientError | SurgeInfeasibleError:
    """Return the error of a plan that does not fit.

    It has the bytes needed and free, what would fit, and the plan itself.
    """
    text = _text(plan)
    return SurgeInfeasibleError(text, plan) if plan.surge else MemoryInsufficientError(text, plan)


def require_fit(plan: Plan) -> Plan:
    """Return a plan that fits.

    Raises:
        SurgeInfeasibleError: it does not, beside the version that it would replace.
        MemoryInsufficientError: it does not.
    """
    if not plan.fits:
        raise fit_error(plan)
    return plan


def _device_text(fit: DeviceFit) -> str:
    text = f"{fit.device_id} has {fit.free_bytes} of {fit.needed_bytes} bytes free"
    return f"{text}, as {foreign_text(fit.foreign_bytes, fit.holders)}" if fit.foreign_bytes else text


def _text(plan: Plan) -> str:
    beside = " beside the version that is serving" if plan.surge else ""
    devices = "; ".join(map(_device_text, plan.devices))
    count = len(plan.alternatives)
    instead = f"{count} alternatives fit, see the plan" if count else "nothing near it fits: free memory first"
    return f"{plan.replicas} x {plan.upper_bytes} bytes do not fit{beside} ({devices or 'no device'}); {instead}"
