"""Small JSON files beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from echoplaned.worker_contract.inference.errors import LoadError

_MAX_JSON_BYTES: Final = 1024 * 1024


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds; the callers check its shape
    """Parse a small JSON file.

    Raises:
        LoadError: it is too large, or no JSON.
    """
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise LoadError(f"{path.name} is over {_MAX_JSON_BYTES} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LoadError(f"{path.name} is not JSON: {error}") from error
