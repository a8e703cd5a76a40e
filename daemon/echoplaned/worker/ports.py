"""What the serving side needs of a model, without importing what runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from echoplaned.core.facts import Signature
from echoplaned.worker.batching import Run
from echoplaned.worker.chat_template import Message
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import TokenSequence
from echoplaned.worker.tokenizer_cost import TokenizerCost


class ServedModel(Protocol):
    """A loaded model.

    ``start_run`` is for the inference thread; the others may be called from any one thread at a time.
    """

    @property
    def options(self) -> LoadOptions:
        """What it was loaded with."""
        ...

    @property
    def signature(self) -> Signature:
        """Its tensors."""
        ...

    @property
    def tensor_bytes(self) -> int:
        """Unique tensor storage."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below this."""
        ...

    @property
    def why_no_int8(self) -> str:
        """Why the model cannot answer as its INT8 self; empty where it can."""
        ...

    @property
    def tokenizer_cost(self) -> TokenizerCost:
        """What texts may cost."""
        ...

    def tokenize(self, texts: list[str], *, truncate: bool) -> list[list[int]]:
        """Return each text's token ids, special tokens included.

        ``truncate``: cut to the context.

        Raises:
            InvalidInputError: the tokenizer fails, or a text has no token, or more than the context and may not be cut.
        """
        ...

    @property
    def has_chat(self) -> bool:
        """Whether the checkpoint says how a conversation becomes a text."""
        ...

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the text of a conversation, by the checkpoint's template.

        Raises:
            InvalidInputError: there is no template, or it refuses the messages.
        """
        ...

    def tokenize_chat(self, text: str) -> list[int]:
        """Return the token ids of a conversation that a chat template has rendered.

        No special tokens are added: the template wrote them itself.

        Raises:
            InvalidInputError: as for ``tokenize``.
        """
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token stands for.

        A token may be a part of a character, whose bytes are no UTF-8.
        """
        ...

    def detokenize(self, token_ids: list[int]) -> str:
        """Return the text of generated tokens, without special ones.

        Raises:
            ModelFailedError: the tokenizer fails.
        """
        ...

    def start_run(self, rows: list[TokenSequence]) -> Run:
        """Make a batch ready to be stepped."""
        ...


class ModelRuntime(Protocol):
    """The library that runs models; blocking."""

    @property
    def engine_version(self) -> str:
        """Names and versions of the libraries."""
        ...

    @property
    def cpu_isa(self) -> str:
        """The instruction set that the matrix library uses."""
        ...

    def load(self, options: LoadOptions) -> ServedModel:
        """Load a checkpoint.

        Raises:
            LoadError: it cannot be served.
        """
        ...
