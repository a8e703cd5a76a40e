"""A model of fewer layers and words than the one that it is made of, so quick that what stands before it is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import gguf

_LAYERS: Final = ".block_count"
_VOCABULARY: Final = ".vocab_size"
_TOKENS: Final = "tokenizer.ggml.tokens"
_MERGES: Final = "tokenizer.ggml.merges"
_BY_TOKEN: Final = frozenset({_TOKENS, "tokenizer.ggml.token_type", "tokenizer.ggml.scores"})
_ROWS_BY_TOKEN: Final = frozenset({"token_embd.weight", "output.weight"})
_LAYER: Final = "blk."
_WRITTEN_BY_ITSELF: Final = ("GGUF.", "general.architecture")


def shorten(source: Path, out: Path, layers: int, tokens: int) -> Path:
    """Copy a GGUF file with its first layers and tokens alone; a byte-pair tokenizer's first tokens are its bytes and commonest pairs."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, str(reader.fields["general.architecture"].contents()))
    kept = set(reader.fields[_TOKENS].contents()[:tokens])
    for name, field in reader.fields.items():
        if name.startswith(_WRITTEN_BY_ITSELF):
            continue
        value = field.contents()
        if name.endswith(_LAYERS):
            value = layers
        elif name.endswith(_VOCABULARY):
            value = tokens
        elif name in _BY_TOKEN:
            value = value[:tokens]
        elif name == _MERGES:
            value = [pair for pair in value if pair.replace(" ", "") in kept]
        inner = field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    for tensor in reader.tensors:
        if not tensor.name.startswith(_LAYER) or int(tensor.name.split(".")[1]) < layers:
            data = tensor.data[:tokens] if tensor.name in _ROWS_BY_TOKEN else tensor.data
            writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
