"""``AutoModel.from_pretrained`` and a first forward in a process that is as warm as a spare; a round for each line on stdin.

python -m benchmarks.peers.bare_load CHECKPOINT
"""

from __future__ import annotations

import sys
import time

import torch
from transformers import AutoModel, AutoTokenizer


def load(checkpoint: str) -> float:
    """Load the model, embed one text; return the seconds."""
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    model = AutoModel.from_pretrained(checkpoint, local_files_only=True).eval()
    with torch.inference_mode():
        model(**tokenizer("a first text", return_tensors="pt"))
    return time.perf_counter() - began


def main(checkpoint: str) -> None:
    """Load once, which pays for lazy imports and is thrown away; then load and answer with the seconds whenever asked."""
    torch.set_num_threads(1)
    load(checkpoint)
    print("warm", flush=True)
    for _ in sys.stdin:
        print(load(checkpoint), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
