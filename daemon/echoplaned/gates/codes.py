"""The codes that the reasons of the gates' verdicts begin with.

They are public: programs look at them.
"""

from __future__ import annotations

import math
from enum import StrEnum

MAX_E_VALUE = 10**12
"""E-values are reported in whole numbers, and no larger."""


class Code(StrEnum):
    """The code that a verdict's reason begins with."""

    ABSTAINED = "ABSTAINED"
    MINIMUM_TIME = "MINIMUM_TIME"
    ERRORS_WORSE = "ERRORS_WORSE"
    ERRORS_WITHOUT_BLAME = "ERRORS_WITHOUT_BLAME"
    ERRORS_WITHIN_MARGIN = "ERRORS_WITHIN_MARGIN"
    ERRORS_SUSPICIOUS = "ERRORS_SUSPICIOUS"
    EVIDENCE_INSUFFICIENT = "EVIDENCE_INSUFFICIENT"
    LIVE_EVIDENCE_MISSING = "LIVE_EVIDENCE_MISSING"
    PROBES_DECIDED = "PROBES_DECIDED"
    SOURCE_STALE = "SOURCE_STALE"
    UNCOUNTED = "UNCOUNTED"
    OVERLOADED = "OVERLOADED"
    CLAIMS_LEFT_OUT = "CLAIMS_LEFT_OUT"
    ARRIVALS_MISSING = "ARRIVALS_MISSING"
    ARRIVALS_AWAITED = "ARRIVALS_AWAITED"
    ARRIVALS_SEEN = "ARRIVALS_SEEN"
    ARRIVALS_NOT_EXPECTED = "ARRIVALS_NOT_EXPECTED"
    CLIENT_FAILS = "CLIENT_FAILS"
    CLIENT_UNREACHED = "CLIENT_UNREACHED"
    CLIENT_AWAITED = "CLIENT_AWAITED"
    CLIENT_SUSPICIOUS = "CLIENT_SUSPICIOUS"
    CLIENTS_ALIKE = "CLIENTS_ALIKE"
    PROBES_NEW_FAILS = "PROBES_NEW_FAILS"
    PROBES_BOTH_FAIL = "PROBES_BOTH_FAIL"
    PROBES_RUNNING = "PROBES_RUNNING"
    PROBES_PASSED = "PROBES_PASSED"


def e_value(log_e: float) -> float:
    """Return an e-value from its logarithm, at most ``MAX_E_VALUE``."""
    return math.exp(min(log_e, math.log(MAX_E_VALUE)))


def short(value: float) -> str:
    """Write a number with three digits, as 1.18e3 where it is 1,000 or more."""
    mantissa, is_power, power = f"{value:.3g}".partition("e")
    return f"{mantissa}e{int(power)}" if is_power else mantissa
