"""What callers ask for: a version's specification and a rollout's policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from echoplaned.core.facts import Dtype


class Tier(StrEnum):
    """Where a version is kept."""

    HOT = "HOT"
    WARM = "WARM"
    COLD = "COLD"


class BehaviourChange(StrEnum):
    """What the caller says of an update's behaviour."""

    UNSPECIFIED = "UNSPECIFIED"
    EQUIVALENT = "EQUIVALENT"
    INTENDED = "INTENDED"


@dataclass(frozen=True, slots=True)
class ReservoirOverrides:
    """A caller's changes to the reservoir's defaults; None keeps the default."""

    spectral_radius: float | None = None
    leak: float | None = None
    input_scale: float | None = None
    seed: int | None = None
    block_density: float | None = None


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """Everything that makes one version's engine what it is. Equal specs with an equal digest are the same version.

    ``source_path`` is resolved and beneath an allowed root; ``source_uri`` is what the caller wrote.
    ``engine_options``: sorted pairs.
    """

    source_uri: str
    source_path: str
    digest: str
    engine: str
    dtype: Dtype
    context_length: int
    max_concurrency: int
    replicas: int = 1
    engine_options: tuple[tuple[str, str], ...] = ()
    reservoir: ReservoirOverrides = ReservoirOverrides()


class OnExpire(StrEnum):
    """What happens to a stage that could not be decided within its maximum time."""

    ROLL_BACK = "ROLL_BACK"
    HOLD = "HOLD"


@dataclass(frozen=True, slots=True)
class EchoPolicy:
    """How a change of behaviour is judged.

    ``max_kl_nats``: margin of the mean KL divergence a token (or a class answer), None to measure it; ``max_distance``: of the mean
    cosine distance of embeddings, None likewise. ``alpha``: chance of calling equal behaviour different, over the whole rollout.
    ``prompt_count``: golden texts scored on both versions at the first stage and at each extended one. ``required``: hold, rather than
    go on, where the versions cannot be compared.
    """

    enabled: bool = True
    max_kl_nats: float | None = None
    max_distance: float | None = None
    alpha: float = 0.002
    prompt_count: int = 48
    required: bool = False


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How a rollout is paced and judged. Times in seconds, rates as fractions of requests.

    ``max_error_increase``: the non-inferiority margin; a stage passes when the one-sided upper bound (at ``confidence``)
    of new error rate less old error rate is below it. ``alpha``: the error gate's chance of a false rollback over the
    whole rollout. ``slo_error_rate``: server errors of the new version above this speak against it on their own.
    ``extended_stages_percent``: stages that ask for twice the minimum time and paired probes as well.
    """

    name: str = "standard"
    stages_percent: tuple[int, ...] = (5, 15, 30, 50, 75, 90, 100)
    extended_stages_percent: tuple[int, ...] = (50, 90)
    stage_min_s: float = 5.0
    stage_max_s: float = 600.0
    soak_s: float = 15.0
    max_error_increase: float = 0.02
    confidence: float = 0.95
    alpha: float = 0.001
    slo_error_rate: float = 0.01
    probe_count: int = 60
    ack_timeout_s: float = 10.0
    revert_timeout_s: float = 30.0
    drain_timeout_s: float = 300.0
    prepare_timeout_s: float = 900.0
    on_expire: OnExpire = OnExpire.ROLL_BACK
    echo: EchoPolicy = EchoPolicy()
