"""Documents of older releases, as they lie in a state directory."""

from __future__ import annotations

import pytest

from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ReservoirOverrides, ServingShape, VersionSpec
from echoplaned.store.codec import CodecError, Json, codec

# As release f78e306 wrote it, field by field.
FLAT: dict[str, Json] = {
    "source_uri": "file:v1",
    "source_path": "/models/v1",
    "digest": "blake3:00",
    "engine": "torch",
    "dtype": "INT8",
    "context_length": 128,
    "max_concurrency": 4,
    "replicas": 2,
    "engine_options": [["torch_threads", "2"]],
    "reservoir": {"spectral_radius": 0.5, "leak": None, "input_scale": None, "seed": 7, "block_density": None},
}
SPEC = VersionSpec(
    "file:v1",
    "/models/v1",
    "blake3:00",
    ServingShape(Dtype.INT8, 128, 4, "torch", 2, (("torch_threads", "2"),)),
    ReservoirOverrides(spectral_radius=0.5, seed=7),
)


def test_a_flat_specification_is_read() -> None:
    """Its fields become the shape, and it is written in today's form."""
    read = codec(VersionSpec).decode(FLAT)
    assert read == SPEC
    written = codec(VersionSpec).encode(read)
    assert set(written) == {"source_uri", "source_path", "digest", "shape", "reservoir"}
    assert codec(VersionSpec).decode(written) == SPEC


def test_a_flat_specification_with_a_format_is_read() -> None:
    """A migration that adds the weights' format beside the dtype reaches the shape."""
    assert codec(VersionSpec).decode(FLAT | {"weights_format": "Q4_K"}).shape.weights_format == "Q4_K"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({name: value for name, value in FLAT.items() if name != "dtype"}, "'dtype' of ServingShape is missing"),
        (FLAT | {"dtype": "FP7"}, "shape.dtype"),
        (FLAT | {"colour": "red"}, "has no field 'colour'"),
    ],
)
def test_damage_is_named(document: dict[str, Json], words: str) -> None:
    """What no release wrote is refused, with its place."""
    with pytest.raises(CodecError, match=words):
        codec(VersionSpec).decode(document)
