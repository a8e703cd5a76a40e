"""What sentence-transformers' files ask for: a plan refuses what a load would, and takes the length that they cut texts at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echoplaned.core.errors import DaemonError, FieldInvalidError
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import inspect_checkpoint, plan_offline, size_model, survey_model
from echoplaned.testing import checkpoints
from echoplaned.worker.pooling import read_pooling
from echoplaned.worker.sentences import read_sentence_options
from echoplaned.worker_contract.inference.errors import LoadError

MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
]
PROMPT = {"prompts": {"query": "Find: "}, "default_prompt_name": "query"}
Files = dict[str, Any]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """Return a small BERT with sentence-transformers' files."""
    out = tmp_path / "encoder"
    checkpoints.make_encoder(out)
    return out


def change(encoder: Path, files: Files) -> None:
    """Write files, and drop what is None."""
    for name, content in files.items():
        (encoder / name).parent.mkdir(exist_ok=True)
        (encoder / name).write_text(json.dumps(content), encoding="utf-8")


REFUSED: dict[str, tuple[Files, str]] = {
    "a mode that is not done": (
        {"1_Pooling/config.json": {"pooling_mode_weightedmean_tokens": True}},
        "1_Pooling/config.json: pooling_mode_weightedmean_tokens",
    ),
    "two modes": (
        {"1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}},
        "mean and cls",
    ),
    "no mode": ({"1_Pooling/config.json": {"word_embedding_dimension": 8}}, "nothing"),
    "a prompt without its tokens": (
        {
            "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "include_prompt": False},
            "config_sentence_transformers.json": PROMPT,
        },
        "include_prompt",
    ),
    "a prompt that is not there": (
        {"config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": "query"}},
        "default_prompt_name",
    ),
    "settings that are a list": ({"sentence_bert_config.json": []}, "sentence_bert_config.json"),
    "pooling beside the model": ({"modules.json": [MODULES[0], {**MODULES[1], "path": ""}]}, "config.json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_load_refuses_a_plan_refuses(encoder: Path, name: str) -> None:
    """The worker and the plan say no to the same files, the plan with file and field and before a process is started."""
    files, text = REFUSED[name]
    change(encoder, {"modules.json": MODULES, **files})
    with pytest.raises(LoadError):
        read_pooling(encoder), read_sentence_options(encoder)
    with pytest.raises(DaemonError) as caught:
        inspect_checkpoint(encoder, with_digest=False)
    assert text in str(caught.value)


def test_what_a_load_does_a_plan_offers(encoder: Path) -> None:
    """A mode by its new name, a prompt that counts and letters made small are served."""
    pooling = {"pooling_mode": "lasttoken", "include_prompt": True}
    names = {"config_sentence_transformers.json": PROMPT, "sentence_bert_config.json": {"do_lower_case": True}}
    change(encoder, {"modules.json": MODULES, "1_Pooling/config.json": pooling, **names})
    assert plan_offline(encoder).serves
    assert read_pooling(encoder).mode == "LASTTOKEN"
    assert read_sentence_options(encoder).prepare("A") == "find: a"


def test_texts_are_as_long_as_the_files_say(encoder: Path) -> None:
    """`max_seq_length` is the default context of plan and load; a caller may ask for what the positions allow, and no more."""
    whole = inspect_checkpoint(encoder, with_digest=False).facts.max_context_length
    change(encoder, {"sentence_bert_config.json": {"max_seq_length": whole // 2}})
    for found in (inspect_checkpoint(encoder, with_digest=False), survey_model(encoder)):
        assert (found.default_shape.context_length, found.facts.max_context_length) == (whole // 2, whole)
    assert plan_offline(encoder).context_length == whole // 2
    assert size_model(encoder, ShapeRequest(context_length=whole)).shape.context_length == whole
    with pytest.raises(FieldInvalidError):
        size_model(encoder, ShapeRequest(context_length=whole + 1))
    change(encoder, {"sentence_bert_config.json": {"max_seq_length": None}})
    assert survey_model(encoder).default_shape.context_length == whole
