"""Wrappers whose nested configs leave out what their classes have by default, as transformers writes and reads them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from echoplaned import _allocator
from tests.planning.drawn import TOKENS, Draw
from tests.planning.drawn_fields import Fields
from tests.planning.drawn_wrappers import FURTHER_TEXTS, WRAPPERS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
hub_errors = pytest.importorskip("huggingface_hub.errors")

COUNT = int(os.environ.get("ECHOPLANE_ORACLE_CONFIGS", "2"))
"""Configs of each wrapper; 30 for a thorough run."""

pytestmark = [
    # The libraries' own sources warn while they are compiled.
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

CASES: dict[str, tuple[str, Draw]] = {name: (name, draw) for name, draw in WRAPPERS.items()} | dict(FURTHER_TEXTS)
PARTS = ("text_config", "vision_config")
FLAT = ("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration")
"""Wrappers whose old configs have the text model's fields at the top."""


def thinned(fields: Fields, kinds: dict[str, str], share: float, rng: random.Random) -> Fields:
    """Leave out nested fields; a ``model_type`` only where the wrapper's class has it by default."""

    def part(name: str) -> Fields:
        return {
            field: value
            for field, value in fields[name].items()
            if rng.random() >= share or (field == "model_type" and value != kinds[name])
        }

    return {**fields, **{name: part(name) for name in PARTS}}


def is_whole(config: Any) -> bool:
    """Say whether heads divide what they share, and patches the picture: what is drawn does, a default beside it need not."""
    text, vision = config.text_config, config.vision_config
    sides = (getattr(vision, "image_size", 0), vision.patch_size)
    return bool(
        text.hidden_size % text.num_attention_heads == 0
        and text.num_attention_heads % text.num_key_value_heads == 0
        and getattr(vision, "embed_dim", vision.hidden_size) % vision.num_attention_heads == 0
        and sides[0] % sides[1] == 0
    )


def drawn(case: str, share: float, rng: random.Random) -> tuple[Fields, Any]:
    """Return fields with a share of the nested ones left out, and transformers' config of them."""
    architecture, draw = CASES[case]
    config_class = getattr(transformers, architecture).config_class
    kinds = {name: config_class.sub_configs_defaults[name].model_type for name in PARTS}
    for _ in range(500):
        fields = thinned(draw(rng), kinds, share, rng)
        if case in FLAT and rng.random() < 0.3:
            text = fields.pop("text_config")
            text.pop("model_type", None)
            fields = text | fields
        try:
            # The class takes its parts out of what it is given.
            config = config_class(**TOKENS, **json.loads(json.dumps(fields)))
        except hub_errors.StrictDataclassError:
            # It refuses heads that do not divide.
            continue
        if is_whole(config):
            return {**fields, "architectures": [architecture]}, config
    raise AssertionError(f"no config of {case} holds together")


def parts(text: str) -> tuple[int, int, list[tuple[str, int]]]:
    """Return parameters, the longest context and every component's bytes at it, from a config alone."""
    found = _allocator.survey_config(text.encode())
    context = min(found.max_context_length, 20_000)
    request = _allocator.Request(engine_name="torch", dtype_name="BF16", context_length=context, max_concurrency=2)
    sized = _allocator.size(found, request)
    return found.parameter_count, found.max_context_length, [(part.name, part.bytes) for part in sized.components]


@pytest.mark.parametrize("case", sorted(CASES))
def test_what_is_left_out_is_the_classes_default(case: str, record_property: Callable[[str, object], None]) -> None:
    """Parameters equal the class's on the meta device, caches and context those of the config with everything written out."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    rng = random.Random(seed)
    for number in range(COUNT):
        # The first one leaves out all that it can.
        fields, config = drawn(case, 0.5 if number else 1.0, rng)
        text = json.dumps(fields)
        with torch.device("meta"):
            model = getattr(transformers, CASES[case][0])(config)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        written = json.dumps(config.to_dict() | {"architectures": fields["architectures"]})
        assert parts(text) == parts(written), f"seed {seed}: {text}"
        assert parts(text)[:2] == (parameters, config.text_config.max_position_embeddings), f"seed {seed}: {text}"
