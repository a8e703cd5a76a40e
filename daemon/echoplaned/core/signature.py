"""The tensors of a model's requests and answers.

A pure function of its task and its sizes.
"""

from __future__ import annotations

from typing import Final

from echoplaned.core.facts import Signature, Task, TensorSpec

TEXT: Final = TensorSpec("text", "BYTES", (-1,))
"""One UTF-8 text a sequence."""

INPUT_IDS: Final = TensorSpec("input_ids", "INT64", (-1, -1))
"""Token ids [sequences, tokens]: may be sent in the place of ``text``."""

ATTENTION_MASK: Final = TensorSpec("attention_mask", "INT64", (-1, -1))
"""1 where ``input_ids`` has a token and 0 where it is padded; may be left out when nothing is padded."""


def signature_for(task: Task, *, embedding_width: int = 0, label_count: int = 0) -> Signature:
    """Return the tensors of a model.

    Args:
        task: what the model is served for.
        embedding_width: elements of one vector; used for embeddings only.
        label_count: classes; used for classification only.
    """
    match task:
        case Task.EMBEDDING:
            outputs: tuple[TensorSpec, ...] = (TensorSpec("embedding", "FP32", (-1, embedding_width)),)
        case Task.CLASSIFICATION:
            outputs = (TensorSpec("logits", "FP32", (-1, label_count)),)
        case Task.GENERATION:
            outputs = (TEXT, TensorSpec("token_ids", "INT64", (-1, -1)), TensorSpec("logprobs", "FP32", (-1, -1)))
    return Signature(inputs=(TEXT, INPUT_IDS, ATTENTION_MASK), outputs=outputs)
