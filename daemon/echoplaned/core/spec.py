"""What callers ask for: a version's specification and a rollout's policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned.core.facts import Dtype

DEFAULT_DRAIN_TIMEOUT_S: Final = 300.0
"""Longest wait for calls in flight while an instance is drained, where no policy says another; ``rollouts.proto`` tells it too."""

MAX_REPLICAS: Final = 64
"""Instances of one version at most; the API's protos tell it too, and so they do the limits below."""
MAX_CONCURRENCY: Final = 4_096
"""Sequences that one instance computes at once, at most."""
MAX_CONTEXT_LENGTH: Final = 16_777_216
"""Longest sequence that can be asked for, tokens."""
MAX_PROBES: Final = 10_000
"""Paired probes of a stage, and golden texts of a rollout, at most."""


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
    """A caller's changes to the reservoir's defaults; None keeps the default.

    Attributes:
        spectral_radius: of each membrane's own matrix, 0.000001 to below 0.999999.
        leak: leak of the root at a step of one token, 0.000001 to below 1.
        input_scale: scale of the input weights, 0.000001 to below 10.
        seed: seed of the fixed random weights, 0 or more.
        block_density: share of non-zeros in a membrane's own matrix of 64 x 64: 2^layers / 64 of 0 to 6 layers.
    """

    spectral_radius: float | None = None
    leak: float | None = None
    input_scale: float | None = None
    seed: int | None = None
    block_density: float | None = None


@dataclass(frozen=True, slots=True)
class ServingShape:
    """How a version is served.

    Everything that sizing, placement and an engine's start are given about it.

    Attributes:
        dtype: of the weights.
        context_length: longest sequence, tokens; 0: nobody asked, and what fits is chosen (``contexts.py``).
        max_concurrency: sequences computed at once.
        engine: kind of the engine.
        replicas: instances.
        options: the engine's own settings, pairs of name and text, sorted.
        weights_format: how weights are packed where ``dtype`` does not say; empty: as ``dtype``.
    """

    dtype: Dtype
    context_length: int
    max_concurrency: int
    engine: str
    replicas: int = 1
    options: tuple[tuple[str, str], ...] = ()
    weights_format: str = ""


@dataclass(frozen=True, slots=True)
class ShapeRequest:
    """What a caller asks of a serving shape; None and empty ask for the default.

    Attributes:
        dtype: as in `ServingShape`, and so are the others.
        context_length: tokens.
        max_concurrency: sequences.
        engine: kind.
        replicas: instances.
        options: pairs of name and text.
        weights_format: name.
    """

    dtype: Dtype | None = None
    context_length: int | None = None
    max_concurrency: int | None = None
    engine: str = ""
    replicas: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    weights_format: str = ""

    def complete(self, default: ServingShape) -> ServingShape:
        """Return the default shape with what is asked for in its place.

        A number of 0 is asked for, and refused by whoever sizes it.
        """
        return ServingShape(
            dtype=default.dtype if self.dtype is None else self.dtype,
            context_length=default.context_length if self.context_length is None else self.context_length,
            max_concurrency=default.max_concurrency if self.max_concurrency is None else self.max_concurrency,
            engine=self.engine or default.engine,
            replicas=default.replicas if self.replicas is None else self.replicas,
            options=self.options or default.options,
            # A dtype alone asks for weights of that dtype, however the default's are packed.
            weights_format=self.weights_format or ("" if self.dtype is not None else default.weights_format),
        )


ALL_DEFAULTS: Final = ShapeRequest()
"""Asks for nothing in particular."""


def request_of(shape: ServingShape) -> ShapeRequest:
    """Return the request that asks for a shape in every point.

    A context that is open is not asked for.
    """
    return ShapeRequest(
        dtype=shape.dtype,
        context_length=shape.context_length or None,
        max_concurrency=shape.max_concurrency,
        engine=shape.engine,
        replicas=shape.replicas,
        options=shape.options,
        weights_format=shape.weights_format,
    )


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """Everything that makes one version's engine what it is.

    Equal specs with an equal digest are the same version.

    Attributes:
        source_uri: what the caller wrote.
        source_path: resolved, and beneath an allowed root.
        digest: of the checkpoint's content.
        shape: how it is served.
        reservoir: changes to the reservoir's defaults.
    """

    source_uri: str
    source_path: str
    digest: str
    shape: ServingShape
    reservoir: ReservoirOverrides = ReservoirOverrides()


class OnExpire(StrEnum):
    """What happens to a stage that could not be decided within its maximum time."""

    ROLL_BACK = "ROLL_BACK"
    HOLD = "HOLD"


class EchoPreset(StrEnum):
    """What a new version is of the old one, and so how much it may differ.

    ``gates.echo.margins`` has the numbers.
    """

    SAME_WEIGHTS = "SAME_WEIGHTS"
    QUANTISED = "QUANTISED"
    FINE_TUNED = "FINE_TUNED"


@dataclass(frozen=True, slots=True)
class EchoPolicy:
    """How a change of behaviour is judged.

    Attributes:
        enabled: whether it is judged.
        max_kl_nats: margin of the mean KL divergence, nats a token (or a class answer), 0.000001 to 100; None: by preset, or measured.
        max_distance: margin of the mean cosine distance of embeddings, 0.000001 to 2; None: by preset, or measured.
        alpha: chance of calling equal behaviour different, over the whole rollout, 0.000001 to 0.1.
        prompt_count: golden texts scored on both versions at the first stage and at each extended one, 1 or more.
        required: whether a rollout holds, rather than goes on, where the versions cannot be compared.
        preset: gives the margins that are not named, and nothing is measured then; None: no preset.
    """

    enabled: bool = True
    max_kl_nats: float | None = None
    max_distance: float | None = None
    alpha: float = 0.002
    prompt_count: int = 48
    required: bool = False
    preset: EchoPreset | None = None


DEFAULT_ACK_TIMEOUT_S = 10.0
"""A subscriber that is silent for longer is stale, where no rollout says otherwise."""


DECIDING_S = 5.0
"""A stage has so long after its minimum, for a verdict on all of it to come: twice the gates' interval, and what they hold back."""


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How a rollout is paced and judged.

    Times are in seconds, rates are fractions of requests.

    Attributes:
        name: a name for people.
        stages_percent: the new version's share in each stage, 1 to 100, rising, the last one 100.
        extended_stages_percent: stages that ask for twice the minimum time and paired probes as well, in percent.
        stage_min_s: shortest time in a stage, 0 or more.
        stage_max_s: longest time in a stage before ``on_expire`` applies, above 0; see ``longest_s``.
        soak_s: time at 100 % with the old version still ready, 0 or more.
        max_error_increase: non-inferiority margin: a stage passes when the one-sided upper bound (at ``confidence``) of new error rate
            less old error rate is below it. 0.0001 to 1.
        confidence: confidence of that bound, 0.5 to 0.99999.
        alpha: the error gate's chance of a false rollback over the whole rollout, 0.000001 to 0.1.
        slo_error_rate: server errors of the new version above this rate speak against it on their own. 0.000001 to 1.
        probe_count: paired probes that decide a stage without live evidence, 1 or more.
        ack_timeout_s: a subscriber that is silent for longer is stale; above 0.
        revert_timeout_s: longest wait for the acknowledgement of a rollback before the new version is drained, above 0.
        drain_timeout_s: longest wait for calls in flight while an instance is drained, 0 or more.
        prepare_timeout_s: longest time for placing, starting and probing the new version, above 0.
        on_expire: what happens to a stage that could not be decided within ``stage_max_s``.
        echo: how a change of behaviour is judged.
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
    ack_timeout_s: float = DEFAULT_ACK_TIMEOUT_S
    revert_timeout_s: float = 30.0
    drain_timeout_s: float = DEFAULT_DRAIN_TIMEOUT_S
    prepare_timeout_s: float = 900.0
    on_expire: OnExpire = OnExpire.ROLL_BACK
    echo: EchoPolicy = EchoPolicy()

    def is_extended(self, stage: int) -> bool:
        """Whether a stage, from 1, asks for twice the time and for paired probes."""
        return self.stages_percent[stage - 1] in self.extended_stages_percent

    def minimum_s(self, stage: int) -> float:
        """Return the shortest time before a stage, from 1, may pass."""
        return self.stage_min_s * (2.0 if self.is_extended(stage) else 1.0)

    def longest_s(self, stage: int) -> float:
        """Return the longest time in a stage, from 1, before ``on_expire`` applies.

        No stage ends before it may pass: a maximum at the minimum, or below what an extended stage asks for, would roll every version back.
        """
        return max(self.stage_max_s, self.minimum_s(stage) + DECIDING_S)
