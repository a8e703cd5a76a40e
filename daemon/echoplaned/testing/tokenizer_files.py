"""Small tokenizers, made from the corpus with the same bytes every time.

The library's own trainers break ties by hash order, so the vocabularies are made here.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from echoplaned.testing.corpus import CORPUS

_BPE_SPECIALS: Final = ("<s>", "</s>", "<pad>")


def write_wordpiece(out: Path, *, vocabulary: int, positions: int) -> int:
    """Write a lower-casing WordPiece tokenizer; return its number of tokens."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordPiece(_wordpiece_vocabulary(vocabulary), unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = {name: tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(ids.items())
    )
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": positions,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
    )
    return int(tokenizer.get_vocab_size())


def write_byte_bpe(out: Path, *, vocabulary: int, positions: int) -> int:
    """Write a byte-level BPE that starts texts with ``<s>``; return its token count."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(*_byte_bpe_model(vocabulary)))
    tokenizer.add_special_tokens(list(_BPE_SPECIALS))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": positions,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
        },
    )
    return int(tokenizer.get_vocab_size())


def _wordpiece_vocabulary(size: int) -> dict[str, int]:
    """Return ids of special tokens, characters and the corpus' commonest words.

    The library's own trainers break ties by hash order, and a checkpoint has to be the same bytes every time.
    """
    characters = sorted(set(string.ascii_lowercase + string.digits + string.punctuation))
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *characters,
        *(f"##{character}" for character in characters),
    ]
    counts = Counter(re.findall(r"[a-z]+", " ".join(CORPUS).lower()))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    tokens += [word for word in words if len(word) > 1]
    return {token: index for index, token in enumerate(tokens[:size])}


def _byte_bpe_model(size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and merges of a byte-level BPE trained on the corpus."""
    vocabulary = [*_BPE_SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = Counter(piece for line in CORPUS for piece, _ in splitter.pre_tokenize_str(line))
    splits = {word: list(word) for word in words}
    merges: list[tuple[str, str]] = []
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(splits[word]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))  # of equally frequent ones the first in order
        merges.append(best)
        vocabulary.append("".join(best))
        splits = {word: _merge(parts, best) for word, parts in splits.items()}
    return {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}, merges


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """Join each occurrence of a pair, from left to right."""
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON, its keys in order."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
