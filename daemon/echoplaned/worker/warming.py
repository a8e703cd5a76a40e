"""Warms a process up by making, loading and running tiny models once.

That pays for everything that only the first load in a process costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker.encoding import EncoderRun
from echoplaned.worker.generating import GenerationRun
from echoplaned.worker.loading import load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Outcome, RowFailure, Sampling, TokenSequence

_WORDS: Final = ("[PAD]", "[UNK]", "warm", "up")
_ROWS: Final = ([2, 3, 2], [3])  # unequal, so that padding is gone through as well
_SIZES: Final = {
    "vocab_size": len(_WORDS),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "pad_token_id": 0,
}


class WarmUpError(RuntimeError):
    """A tiny model did not run; this machine's libraries cannot serve."""


def warm_up(directory: Path) -> None:
    """Make, load and run one tiny model of each task below a directory.

    Each is loaded in FP32 and in INT8.

    Raises:
        WarmUpError: one of them failed.
        LoadError: one of them did not load.
    """
    bert = BertConfig(num_attention_heads=2, max_position_embeddings=16, **_SIZES)
    llama = LlamaConfig(num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16, **_SIZES)
    for task, model in (
        (Task.EMBEDDING, BertModel(bert)),
        (Task.CLASSIFICATION, BertForSequenceClassification(bert)),
        (Task.GENERATION, LlamaForCausalLM(llama)),
    ):
        source = directory / task.value
        _save(model, source)
        for dtype in (Dtype.FP32, Dtype.INT8):
            _run_once(source, task, dtype)


def _save(model: PreTrainedModel, out: Path) -> None:
    """Write a model and a tokenizer of four words."""
    model.save_pretrained(out)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(_WORDS)}, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(out)  # noqa: S106 - as above


def _run_once(source: Path, task: Task, dtype: Dtype) -> None:
    """Load one tiny checkpoint and run it to its end."""
    instance = InstanceKey.parse("warm/up#0")
    options = LoadOptions(instance, 1, source, task, dtype, context_length=16, max_concurrency=2)
    loaded = load_model(options)
    got: list[Outcome] = []
    rows = [TokenSequence(list(row), Sampling(max_tokens=2), got.append) for row in _ROWS]
    run = GenerationRun(loaded, rows) if task is Task.GENERATION else EncoderRun(loaded, rows)
    while not run.done:
        for sequence, outcome in run.step():
            sequence.deliver(outcome)
    if not got or any(isinstance(outcome, RowFailure) for outcome in got):
        raise WarmUpError(f"a tiny {task} model in {dtype} did not answer")
