"""The torch side of a worker: the runtime that loads, and the served model.

Importing this takes seconds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from echoplaned.core.facts import Signature, Task
from echoplaned.core.signature import signature_for
from echoplaned.engine_kinds.embedded import embedded_version
from echoplaned.worker.batching import Run
from echoplaned.worker.chat_template import NO_TEMPLATE, Message
from echoplaned.worker.cpu_isa import library_isa
from echoplaned.worker.encoding import EncoderRun
from echoplaned.worker.generating import GenerationRun
from echoplaned.worker.int8_rounding import Int8Run, why_not
from echoplaned.worker.loading import LoadedModel, load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.scoring import ScoringRun
from echoplaned.worker.sequences import TokenSequence
from echoplaned.worker.token_bytes import TokenBytes
from echoplaned.worker.tokenizer_cost import TokenizerCost
from echoplaned.worker.tokenizing import detokenize, tokenize
from echoplaned.worker.warming import warm_up
from echoplaned.worker_contract.inference.errors import FieldError
from echoplaned.worker_contract.inference.lengths import text_limit


class TorchModel:
    """A loaded model behind the interface that the serving side knows."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._signature = _signature(loaded)
        self._token_bytes = TokenBytes(loaded.tokenizer)

    @property
    def options(self) -> LoadOptions:
        """What it was loaded with."""
        return self._loaded.options

    @property
    def signature(self) -> Signature:
        """Its tensors."""
        return self._signature

    @property
    def tensor_bytes(self) -> int:
        """Unique tensor storage."""
        return self._loaded.storage_bytes

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below this."""
        return self._loaded.vocabulary_size

    @property
    def why_no_int8(self) -> str:
        """Why the model cannot answer as its INT8 self; empty where it can."""
        return why_not(self._loaded.model, self.options.dtype)

    @property
    def tokenizer_cost(self) -> TokenizerCost:
        """What texts may cost."""
        return self._loaded.tokenizer_cost

    def tokenize(self, texts: list[str], *, truncate: bool = False) -> list[list[int]]:
        """Return each text's token ids, special tokens included.

        ``truncate``: cut to the context.

        Raises:
            InvalidInputError: the tokenizer fails, or a text has no token, or more than the context and may not be cut.
        """
        prepared = [self._loaded.sentences.prepare(text) for text in texts]
        return tokenize(self._loaded.tokenizer, prepared, self.options.context_length, truncate=truncate)

    @property
    def has_chat(self) -> bool:
        """Whether the checkpoint says how a conversation becomes a text."""
        return self._loaded.chat is not None

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the text of a conversation, by the checkpoint's template.

        Raises:
            InvalidInputError: there is no template, or it refuses the messages.
        """
        if self._loaded.chat is None:
            raise FieldError("messages", NO_TEMPLATE)
        return self._loaded.chat.render(messages, text_limit(self.options.context_length, self.tokenizer_cost.work))

    def tokenize_chat(self, text: str) -> list[int]:
        """Return the token ids of a conversation that a chat template has rendered.

        No special tokens are added: the template wrote them itself.

        Raises:
            InvalidInputError: as for ``tokenize``.
        """
        (row,) = tokenize(self._loaded.tokenizer, [text], self.options.context_length, truncate=False, special=False)
        return row

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token stands for.

        A token may be a part of a character, whose bytes are no UTF-8.
        """
        return self._token_bytes.of(token_id)

    def detokenize(self, token_ids: list[int]) -> str:
        """Return the text of generated tokens, without special ones.

        Raises:
            ModelFailedError: the tokenizer fails.
        """
        return detokenize(self._loaded.tokenizer, token_ids)

    def start_run(self, rows: list[TokenSequence]) -> Run:
        """Make a batch ready to be stepped."""
        # The number of threads is kept by thread; this runs on the inference thread.
        if torch.get_num_threads() != self.options.torch_threads:
            torch.set_num_threads(self.options.torch_threads)
        run = self._run(rows)
        return Int8Run(run, self._loaded.model) if rows[0].as_int8 else run

    def _run(self, rows: list[TokenSequence]) -> Run:
        if self.options.task is not Task.GENERATION:
            return EncoderRun(self._loaded, rows)
        return (GenerationRun if rows[0].scoring is None else ScoringRun)(self._loaded, rows)


class TorchRuntime:
    """Torch and transformers, imported and warm."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        # Read while nobody waits: it takes milliseconds of searching through the installed packages.
        self._version = embedded_version(os.environ)
        self._cpu_isa = library_isa()
        with tempfile.TemporaryDirectory(prefix="echoplane-warm-") as directory:
            warm_up(Path(directory))

    @property
    def engine_version(self) -> str:
        """Names and versions of the libraries."""
        return self._version

    @property
    def cpu_isa(self) -> str:
        """The instruction set that the matrix library uses, as it says itself."""
        return self._cpu_isa.value

    def load(self, options: LoadOptions) -> TorchModel:
        """Load a checkpoint.

        Raises:
            LoadError: it cannot be served.
        """
        torch.set_num_threads(options.torch_threads)
        return TorchModel(load_model(options))


def _signature(loaded: LoadedModel) -> Signature:
    """Return the tensors of a model by its task and its config."""
    config = loaded.model.config
    return signature_for(
        loaded.options.task, embedding_width=int(config.hidden_size), label_count=int(getattr(config, "num_labels", 0))
    )
