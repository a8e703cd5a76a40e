"""What is done with a text before it is cut into tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echoplaned.worker.sentences import SentenceOptions, read_sentence_options
from echoplaned.worker_contract.inference.errors import LoadError


def write(directory: Path, prompts: object, settings: object) -> Path:
    """Write both files of settings."""
    (directory / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (directory / "sentence_bert_config.json").write_text(json.dumps(settings))
    return directory


def test_texts_are_prepared_as_the_files_say(tmp_path: Path) -> None:
    """The default prompt comes first, letters become small where that is asked for, and nothing is done without files."""
    assert read_sentence_options(tmp_path) == SentenceOptions()
    prompts = {"prompts": {"query": "Find: ", "document": ""}, "default_prompt_name": "query"}
    found = read_sentence_options(write(tmp_path, prompts, {"do_lower_case": True}))
    assert found.prepare("A River") == "find: a river"
    unnamed = read_sentence_options(write(tmp_path, {**prompts, "default_prompt_name": None}, {"max_seq_length": 9}))
    assert unnamed.prepare("A River") == "A River"


@pytest.mark.parametrize(
    "prompts", [[], {"default_prompt_name": "query"}, {"prompts": {}, "default_prompt_name": "query"}]
)
def test_a_prompt_that_is_not_there_is_named(tmp_path: Path, prompts: object) -> None:
    """A damaged file fails the load instead of changing every vector."""
    with pytest.raises(LoadError, match=r"config_sentence_transformers\.json"):
        read_sentence_options(write(tmp_path, prompts, {}))
