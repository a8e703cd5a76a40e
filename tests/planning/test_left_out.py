"""What the catalogue leaves out of transformers' language models is refused by name, never guessed at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.allocator.architectures import left_out
from echoplaned import _allocator
from echoplaned.core.errors import ArchitectureUnsupportedError
from echoplaned.planning import survey_model

pytest.importorskip("transformers")

PLAIN = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "vocab_size": 32,
    "max_position_embeddings": 16,
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_is_left_out_is_refused(write_config: Callable[..., Path]) -> None:
    """Each class in transformers' tables that has no row answers ARCHITECTURE_UNSUPPORTED, and the answer names it."""
    names = left_out([name for name, _ in _allocator.architectures()])
    assert len(names) > 100
    for name in names:
        with pytest.raises(ArchitectureUnsupportedError, match=name) as caught:
            survey_model(write_config(architectures=[name], **PLAIN))
        assert caught.value.reason == "ARCHITECTURE_UNSUPPORTED"
