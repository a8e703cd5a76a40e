"""Every language model of transformers: built from its default config, counted beside ours, or refused by name.

python -m benchmarks.allocator.architectures [--out FILE] [PART …]

It goes through transformers' own tables of causal models, masked models and text encoders, and encoder-decoders, builds each class
on the meta device from its default config, and says what our catalogue does with that config: ``exact``, ``differs`` or refused, with
the reason. ``PART``: only classes whose name holds one of these. All of them take about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from huggingface_hub.errors import StrictDataclassError

from echoplaned import _allocator

_OUT: Final = Path(__file__).parents[1] / "results" / "allocator-architectures.json"
_TABLES: Final = {
    "causal": ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",),
    "encoder": ("MODEL_FOR_MASKED_LM_MAPPING_NAMES", "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES"),
    "encoder-decoder": ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",),
}
UNBUILDABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What constructors raise where the default config is not enough for a model."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one class. ``parameters``: transformers' count; None where it could not be built."""

    architecture: str
    kind: str
    outcome: str
    reason: str = ""
    parameters: int | None = None


def names() -> Iterator[tuple[str, str]]:
    """Yield kind and class name of every language model in transformers' own tables, each once."""
    from transformers.models.auto import modeling_auto  # noqa: PLC0415  # seconds to import

    seen = set()
    for kind, tables in _TABLES.items():
        for table in tables:
            for found in getattr(modeling_auto, table).values():
                for name in [found] if isinstance(found, str) else found:
                    if name not in seen:
                        seen.add(name)
                        yield kind, name


def judge(kind: str, name: str) -> Finding:
    """Build a class from its default config and compare."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    try:
        model_class = getattr(transformers, name)
        config = model_class.config_class()
        with torch.device("meta"):
            model = model_class(config)
    except UNBUILDABLE as error:
        return Finding(name, kind, "not built", f"{type(error).__name__}: {error}"[:200])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    text = json.dumps(json.loads(config.to_json_string(use_diff=False)) | {"architectures": [name]})
    try:
        found = _allocator.survey_config(text.encode()).parameter_count
    except _allocator.AllocatorError as error:
        return Finding(name, kind, "refused", f"{type(error).__name__}: {error}"[:200], parameters)
    outcome = "exact" if found == parameters else "differs"
    return Finding(name, kind, outcome, "" if outcome == "exact" else f"ours {found}", parameters)


def main() -> int:
    """Print one line a class and the sums; 1 where a count differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="*", help="only classes whose name holds one of these")
    parser.add_argument(
        "--out", type=Path, help=f"default {_OUT.name} in benchmarks/results, where all are gone through"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    findings = []
    for kind, name in names():
        if not arguments.part or any(part in name for part in arguments.part):
            findings.append(judge(kind, name))
            print(_line(findings[-1]), flush=True)
    print(
        ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(one.outcome for one in findings).items()))
    )
    out = arguments.out or (None if arguments.part else _OUT)
    if out:
        out.write_text(json.dumps([asdict(one) for one in findings], indent=1) + "\n", encoding="utf-8")
    return int(any(one.outcome == "differs" for one in findings))


def _line(found: Finding) -> str:
    count = "" if found.parameters is None else f"{found.parameters:,}"
    return f"{found.kind:16}{found.architecture:48}{found.outcome:10}{count:>18}  {found.reason}"


def left_out(served: Sequence[str]) -> list[str]:
    """Return the classes of transformers' tables that are not among ``served``."""
    return sorted(name for _, name in names() if name not in served)


if __name__ == "__main__":
    raise SystemExit(main())
