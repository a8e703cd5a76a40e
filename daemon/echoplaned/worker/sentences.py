"""What sentence-transformers does with a text before it is tokenised.

The checkpoint's files say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.worker.small_json import read_json
from echoplaned.worker_contract.inference.errors import LoadError

_PROMPTS_NAME: Final = "config_sentence_transformers.json"
_POOLING_NAME: Final = "1_Pooling/config.json"
_SETTINGS_NAME: Final = "sentence_bert_config.json"


@dataclass(frozen=True, slots=True)
class SentenceOptions:
    """A text's preparation.

    Attributes:
        prompt: text put before every text, the checkpoint's default prompt; empty: it names none.
        lower_case: whether letters are lowered.
    """

    prompt: str = ""
    lower_case: bool = False

    def prepare(self, text: str) -> str:
        """Return what is cut into tokens."""
        whole = self.prompt + text
        return whole.lower() if self.lower_case else whole


def read_sentence_options(source: Path) -> SentenceOptions:
    """Read the two files of settings; nothing is done where there are none.

    Raises:
        LoadError: a file is damaged, its default prompt is not among its prompts, or that is to be left out of the vector.
    """
    settings = _read_object(source / _SETTINGS_NAME)
    prompts = _read_object(source / _PROMPTS_NAME)
    name = prompts.get("default_prompt_name")
    prompt = ""
    if name is not None:
        known = prompts.get("prompts")
        found = known.get(name) if isinstance(known, dict) else None
        if not isinstance(found, str):
            raise LoadError(
                f"{_PROMPTS_NAME}: default_prompt_name is {str(name)[:64]!r}, which is not among its prompts"
            )
        prompt = found
    if prompt and _read_object(source / _POOLING_NAME).get("include_prompt") is False:
        raise LoadError(f"{_POOLING_NAME}: include_prompt: the default prompt's tokens are not left out of the vector")
    return SentenceOptions(prompt=prompt, lower_case=settings.get("do_lower_case") is True)


def _read_object(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise LoadError(f"{path.name} is not an object")
    return found
