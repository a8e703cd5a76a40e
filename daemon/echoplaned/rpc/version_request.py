"""What a caller asks of a version, before anything is looked up.

The fields that load, update and plan share.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from echoplane.v1 import models_pb2, planning_pb2
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.facts import ModelFacts
from echoplaned.core.failure import InvalidField
from echoplaned.core.spec import ReservoirOverrides, ServingShape, ShapeRequest, Tier, VersionSpec, request_of
from echoplaned.core.state import Version
from echoplaned.engine_kinds import DEFAULT_KIND, find_kind
from echoplaned.ports.planning import InspectedSource
from echoplaned.rpc.convert.common import DTYPE_FROM_PB, TIER_FROM_PB
from echoplaned.rpc.convert.plans import overrides_from_pb

VersionMessage = models_pb2.LoadModelRequest | models_pb2.UpdateModelRequest | planning_pb2.PlanModelRequest


@dataclass(frozen=True, slots=True)
class VersionRequest:
    """A version as a caller asked for it; None and "" are what was left out.

    Attributes:
        model: the model's id; empty: a plan for no model.
        version: the version's id; empty: none was named.
        source_uri: the source, as the caller wrote it; empty: the known version's.
        shape: what is asked of its serving shape.
        reservoir: changes to the reservoir's defaults; None: none were given.
        tier: the tier that it shall be kept in.
        pinned: whether it is never chosen to make room.
    """

    model: str
    version: str
    source_uri: str
    shape: ShapeRequest
    reservoir: ReservoirOverrides | None
    tier: Tier = Tier.HOT
    pinned: bool = False


def read_version_request(message: VersionMessage) -> VersionRequest:
    """Return what a message that kept the field rules asks for."""
    request = VersionRequest(
        model=message.model_id,
        version="",
        source_uri=message.source_uri,
        shape=ShapeRequest(
            dtype=DTYPE_FROM_PB.get(message.dtype),
            context_length=message.context_length or None,
            max_concurrency=message.max_concurrency or None,
            engine=message.engine,
            replicas=message.replicas or None,
            options=tuple(sorted(message.engine_options.items())),
            weights_format=message.weights_format,
        ),
        reservoir=overrides_from_pb(message.reservoir) if message.HasField("reservoir") else None,
    )
    if isinstance(message, planning_pb2.PlanModelRequest):
        return request
    tier = TIER_FROM_PB.get(message.tier, Tier.HOT)
    return replace(request, version=message.version_id, tier=tier, pinned=message.pinned)


def new_spec(request: VersionRequest, found: InspectedSource, default_max_concurrency: int) -> VersionSpec:
    """Return the specification of a request with its defaults filled in.

    A context that nobody asked for stays open.

    Raises:
        FieldInvalidError: the context is longer than the checkpoint allows, or another dtype is asked of a file that is served as it is.
    """
    facts = found.facts
    longest = facts.max_context_length
    if found.weights_format and request.shape.dtype is not None:
        text = f"the file's weights are {found.weights_format} and are served as they are: leave dtype out"
        raise FieldInvalidError(InvalidField("dtype", text))
    default = ServingShape(facts.stored_dtype, 0, default_max_concurrency, DEFAULT_KIND.name)
    shape = request.shape.complete(replace(default, weights_format=found.weights_format))
    if shape.context_length > longest:
        raise FieldInvalidError(InvalidField("context_length", f"the checkpoint allows at most {longest} tokens"))
    reservoir = request.reservoir or ReservoirOverrides()
    return VersionSpec(request.source_uri, found.path, facts.digest, shape, reservoir)


def changed_spec(request: VersionRequest, known: Version) -> VersionSpec:
    """Return a known version's specification with what the request says otherwise."""
    spec = known.spec
    return replace(spec, shape=request.shape.complete(spec.shape), reservoir=request.reservoir or spec.reservoir)


def from_known(asked: VersionRequest, known: Version | None) -> VersionRequest:
    """Return a request without a source, completed from the version that it names."""
    if asked.source_uri or known is None:
        return asked
    spec = changed_spec(asked, known)
    shape = request_of(spec.shape)
    kind = find_kind(shape.engine)
    if kind is not None and shape.weights_format not in kind.weights_formats:
        # How the file's weights are packed: nobody asked for it, and the file says it again.
        shape = replace(shape, dtype=None, weights_format="")
    return replace(asked, source_uri=spec.source_uri, shape=shape, reservoir=spec.reservoir)


def same_content(known: Version, wanted: VersionSpec) -> bool:
    """Say whether a version has the content and options that are wanted.

    Wherever the files lie.
    """
    here = replace(wanted, source_uri=known.spec.source_uri, source_path=known.spec.source_path)
    return known.spec in {here, with_longest(here, known.facts)}


def with_longest(spec: VersionSpec, facts: ModelFacts) -> VersionSpec:
    """Return a specification as releases wrote it that had no open context.

    Where nobody asked for a context, it has the checkpoint's longest.
    """
    if spec.shape.context_length:
        return spec
    return replace(spec, shape=replace(spec.shape, context_length=facts.max_context_length))


def default_version_id(spec: VersionSpec) -> str:
    """Return a short digest of content and options, as asked for.

    12 hexadecimal digits, the same for the same request.
    """
    shape = spec.shape
    parts: tuple[object, ...] = (
        spec.digest,
        shape.engine,
        shape.dtype.value,
        shape.context_length,
        shape.max_concurrency,
        shape.replicas,
        shape.options,
        spec.reservoir.spectral_radius,
        spec.reservoir.leak,
        spec.reservoir.input_scale,
        spec.reservoir.seed,
    )
    if spec.reservoir.block_density is not None:
        # Named only where it is asked for: what was loaded before there was a choice keeps its id.
        parts = (*parts, spec.reservoir.block_density)
    if shape.weights_format:
        parts = (*parts, ("weights_format", shape.weights_format))
    return hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()
