"""The span of time that a verdict speaks of."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.statistics.error_eprocess import ErrorTest

SIDE_GATE_PART = 0.1
"""The arrivals, the probes, and the errors and the silence of single clients may each fail a good version with this part of the
policy's alpha, beside the error gate's own."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of one rollout stage under one set of weights.

    Attributes:
        policy: the rollout's policy.
        stage: number of the stage, from 1.
        number: number of the window in the rollout; a verdict names it.
        began_s: when its routes were acknowledged, seconds since the epoch.
        soaking: whether the last stage has passed and the old version is still kept.
    """

    policy: RolloutPolicy
    stage: int
    number: int
    began_s: float
    soaking: bool = False

    @property
    def extended(self) -> bool:
        """Whether the stage asks for twice the time and for paired probes."""
        return self._is_in_stage and self.policy.is_extended(self.stage)

    @property
    def minimum_s(self) -> float:
        """Shortest time before the window may pass, in seconds."""
        return self.policy.minimum_s(self.stage) if self._is_in_stage else self.policy.stage_min_s

    @property
    def longest_s(self) -> float:
        """Longest time before the window ends undecided, in seconds."""
        return self.policy.longest_s(self.stage) if self._is_in_stage else self.policy.stage_max_s

    @property
    def nominal_share(self) -> float:
        """The stage's share of the new version, in [0, 1].

        It is steadier than the observed one while there are few requests.
        """
        return self.policy.stages_percent[self.stage - 1] / 100.0 if self._is_in_stage else 1.0

    @property
    def _is_in_stage(self) -> bool:
        return not self.soaking and 1 <= self.stage <= len(self.policy.stages_percent)

    @property
    def error_test(self) -> ErrorTest:
        """The error gate's parameters."""
        return ErrorTest(self.policy.alpha, self.policy.slo_error_rate)

    @property
    def side_alpha(self) -> float:
        """The chance that a side gate fails a good version.

        It holds over the whole rollout.
        """
        return self.policy.alpha * SIDE_GATE_PART
