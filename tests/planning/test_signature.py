"""Signatures by task."""

from __future__ import annotations

from echoplaned.core.facts import Task
from echoplaned.core.signature import ATTENTION_MASK, INPUT_IDS, TEXT, signature_for


def test_every_task_takes_text_or_token_ids() -> None:
    """The inputs are the same whatever the task; the outputs are the task's."""
    outputs = {
        Task.EMBEDDING: [("embedding", "FP32", (-1, 384))],
        Task.CLASSIFICATION: [("logits", "FP32", (-1, 3))],
        Task.GENERATION: [("text", "BYTES", (-1,)), ("token_ids", "INT64", (-1, -1)), ("logprobs", "FP32", (-1, -1))],
    }
    for task in Task:
        signature = signature_for(task, embedding_width=384, label_count=3)
        assert signature.inputs == (TEXT, INPUT_IDS, ATTENTION_MASK)
        assert [(spec.name, spec.datatype, spec.shape) for spec in signature.outputs] == outputs[task]


def test_another_width_is_another_signature() -> None:
    """Versions whose vectors differ in width cannot replace each other unnoticed."""
    assert signature_for(Task.EMBEDDING, embedding_width=384) != signature_for(Task.EMBEDDING, embedding_width=768)
