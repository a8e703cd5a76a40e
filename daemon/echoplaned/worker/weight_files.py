"""Which files of a checkpoint hold its weights.

The one file where it is there, else those that the index names, as the planner reads them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from echoplaned.worker_contract.inference.errors import LoadError

SINGLE_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"
_MAX_INDEX_BYTES: Final = 32 * 1024 * 1024


def weight_files(source: Path) -> list[Path]:
    """Return the safetensors files that a load reads, in the order of their names.

    Raises:
        LoadError: there are none, or the index is damaged.
    """
    if (source / SINGLE_NAME).is_file():
        return [source / SINGLE_NAME]
    names = sorted(set(_weight_map(source).values()))
    if any(Path(name).name != name for name in names):
        raise LoadError(f"{INDEX_NAME} names a file outside the checkpoint")
    return [source / name for name in names]


@contextmanager
def loadable(source: Path) -> Iterator[Path]:
    """Yield a directory whose weight index transformers can load.

    It is the source itself, or links to its files beside an index that has what transformers asks for.

    Its loader reads the index's ``metadata``, which the format does not demand and some writers leave out. The links lie in the source,
    so that they go with it: a load's is a directory of its own.
    """
    if (source / SINGLE_NAME).is_file() or not (source / INDEX_NAME).is_file() or "metadata" in _index(source):
        yield source
        return
    entries = [entry.absolute() for entry in source.iterdir() if entry.name != INDEX_NAME]
    with tempfile.TemporaryDirectory(prefix=".loadable-", dir=source) as directory:
        view = Path(directory)
        for entry in entries:
            # To the entry and not to what it resolves to: a link to an open descriptor would become a name again.
            (view / entry.name).symlink_to(entry)
        (view / INDEX_NAME).write_text(
            json.dumps({"metadata": {}, "weight_map": _weight_map(source)}), encoding="utf-8"
        )
        yield view


def _weight_map(source: Path) -> dict[str, str]:
    index = _index(source)
    weights = index.get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise LoadError(f"{INDEX_NAME} is damaged: it has no weight_map of file names")
    return weights


def _index(source: Path) -> dict[str, object]:
    path = source / INDEX_NAME
    if not path.is_file():
        raise LoadError(f"the checkpoint has no {SINGLE_NAME}")
    if path.stat().st_size > _MAX_INDEX_BYTES:
        raise LoadError(f"{INDEX_NAME} is over {_MAX_INDEX_BYTES} bytes")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LoadError(f"{INDEX_NAME} is damaged: {error}") from error
    if not isinstance(index, dict):
        raise LoadError(f"{INDEX_NAME} is damaged: it is not an object")
    return index
