"""What the echo gate wants done outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from echoplaned.gates.echo.description import PairFeatures
from echoplaned.gates.echo.features import Network
from echoplaned.gates.echo.sequences import AnswerSequence
from echoplaned.gates.gate import Ask


@dataclass(frozen=True, slots=True)
class ScoreTexts(Ask):
    """Asks that golden texts are scored by both versions.

    Attributes:
        indices: which texts.
        measures_margin: whether the old version is to be measured against itself in INT8 first.
    """

    indices: frozenset[int]
    measures_margin: bool
    decides: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, eq=False)
class FitListeners(Ask):
    """Asks that the listeners are fitted on requests of the old version.

    Attributes:
        gathered: the requests.
        network: the reservoir that listens.
    """

    gathered: tuple[AnswerSequence, ...]
    network: Network


@dataclass(frozen=True, slots=True, eq=False)
class DescribeChange(Ask):
    """Asks that the live change is described.

    It is described where there are enough new pairs for it.

    Attributes:
        pair_count: pairs that were bet on so far.
        newest: the pairs that can be described.
    """

    pair_count: int
    newest: tuple[PairFeatures, ...]
