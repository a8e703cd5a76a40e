"""What a caller wishes of a version, before anything is looked up: the fields that load, update and plan share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from echoplane.v1 import models_pb2, planning_pb2
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.facts import Dtype, ModelFacts
from echoplaned.core.failure import Violation
from echoplaned.core.spec import ReservoirOverrides, Tier, VersionSpec
from echoplaned.core.state import Version
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.rpc.convert.common import DTYPE_FROM_PB, TIER_FROM_PB
from echoplaned.rpc.convert.plans import overrides_from_pb

VersionRequest = models_pb2.LoadModelRequest | models_pb2.UpdateModelRequest | planning_pb2.PlanModelRequest


@dataclass(frozen=True, slots=True)
class VersionWish:
    """A version as a caller asked for it; None and "" are what was left out."""

    model: str
    version: str
    source_uri: str
    engine: str
    engine_options: tuple[tuple[str, str], ...]
    dtype: Dtype | None
    context_length: int | None
    max_concurrency: int | None
    replicas: int | None
    reservoir: ReservoirOverrides | None
    tier: Tier = Tier.HOT
    pinned: bool = False


def read_wish(request: VersionRequest) -> VersionWish:
    """Return the wish of a request that kept the field rules."""
    wish = VersionWish(
        model=request.model_id,
        version="",
        source_uri=request.source_uri,
        engine=request.engine,
        engine_options=tuple(sorted(request.engine_options.items())),
        dtype=DTYPE_FROM_PB.get(request.dtype),
        context_length=request.context_length or None,
        max_concurrency=request.max_concurrency or None,
        replicas=request.replicas or None,
        reservoir=overrides_from_pb(request.reservoir) if request.HasField("reservoir") else None,
    )
    if isinstance(request, planning_pb2.PlanModelRequest):
        return wish
    tier = TIER_FROM_PB.get(request.tier, Tier.HOT)
    return replace(wish, version=request.version_id, tier=tier, pinned=request.pinned)


def new_spec(wish: VersionWish, path: str, facts: ModelFacts, default_max_concurrency: int) -> VersionSpec:
    """Return the specification of a wish with its defaults filled in.

    Raises:
        FieldInvalidError: the context is longer than the checkpoint allows.
    """
    longest = facts.max_context_length
    if wish.context_length is not None and wish.context_length > longest:
        raise FieldInvalidError(Violation("context_length", f"the checkpoint allows at most {longest} tokens"))
    return VersionSpec(
        source_uri=wish.source_uri,
        source_path=path,
        digest=facts.digest,
        engine=wish.engine or DEFAULT_KIND.name,
        dtype=wish.dtype or facts.stored_dtype,
        context_length=wish.context_length or longest,
        max_concurrency=wish.max_concurrency or default_max_concurrency,
        replicas=wish.replicas or 1,
        engine_options=wish.engine_options,
        reservoir=wish.reservoir or ReservoirOverrides(),
    )


def changed_spec(wish: VersionWish, known: Version) -> VersionSpec:
    """Return a known version's specification with what the wish says otherwise."""
    spec = known.spec
    return replace(
        spec,
        engine=wish.engine or spec.engine,
        engine_options=wish.engine_options or spec.engine_options,
        dtype=wish.dtype or spec.dtype,
        context_length=wish.context_length or spec.context_length,
        max_concurrency=wish.max_concurrency or spec.max_concurrency,
        replicas=wish.replicas or spec.replicas,
        reservoir=wish.reservoir or spec.reservoir,
    )


def same_content(known: VersionSpec, wanted: VersionSpec) -> bool:
    """Whether two specifications ask for the same content and options, wherever the files lie."""
    return known == replace(wanted, source_uri=known.source_uri, source_path=known.source_path)


def default_version_id(spec: VersionSpec) -> str:
    """Return a short digest of content and options: 12 hexadecimal digits, the same for the same wish."""
    parts: tuple[object, ...] = (
        spec.digest,
        spec.engine,
        spec.dtype.value,
        spec.context_length,
        spec.max_concurrency,
        spec.replicas,
        spec.engine_options,
        spec.reservoir.spectral_radius,
        spec.reservoir.leak,
        spec.reservoir.input_scale,
        spec.reservoir.seed,
    )
    if spec.reservoir.block_density is not None:
        # Named only where it is asked for: what was loaded before there was a choice keeps its id.
        parts = (*parts, spec.reservoir.block_density)
    return hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()
