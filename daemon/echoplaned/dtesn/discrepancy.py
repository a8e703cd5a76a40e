"""The maximum mean discrepancy, a distance between two distributions.

It is computed from a sample of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoplaned import _allocator
from echoplaned.dtesn._arrays import rows
from echoplaned.dtesn._numbers import whole_numbers
from echoplaned.dtesn.errors import ShapeInvalidError

PERMUTATIONS = 9_999
"""Permutations at most; fewer where 20 of them have reached what was observed."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Result of a two-sample test: the distance and its significance.

    Attributes:
        statistic: unbiased MMD squared: about 0, and often below it, for equal distributions; at most 2.
        p_value: chance of a statistic as large if labels could be exchanged within strata; 1 without permutations.
        permutations: how many were tried.
        median: the median Euclidean distance of two different rows; 0 where all are equal.
    """

    statistic: float
    p_value: float
    permutations: int
    median: float


@dataclass(frozen=True, slots=True)
class NullPlan:
    """How the distribution under the null hypothesis is drawn.

    The result depends on the seed, and not on the number of threads.

    Attributes:
        permutations: how many are tried at most; 0 for the statistic alone, below 2**32.
        seed: seed of the random permutations, from 0 to 2**64 - 1.
        threads: how many compute; 0 for all that the machine has.
    """

    permutations: int = PERMUTATIONS
    seed: int = 0
    threads: int = 0


@whole_numbers
def mmd(
    first: ArrayLike, second: ArrayLike, strata: ArrayLike | None = None, plan: NullPlan | None = None
) -> Discrepancy:
    """Return the maximum mean discrepancy of two samples.

    It is squared and unbiased, and has a p-value from permutations.

    The kernel is the mean of three of radial basis, ``exp(-d^2 / (2 w^2))`` with ``w`` the median distance of two rows times 0.5, 1
    and 2 (Gretton, Borgwardt, Rasch, Schoelkopf, Smola, "A kernel two-sample test", JMLR 13, 2012, lemma 6). Once 20 permutations have
    reached what was observed no more are tried (Besag, Clifford, "Sequential Monte Carlo p-values", Biometrika 78, 1991), which
    keeps the p-value valid. Width and permutations are chosen on the same data: for one look, not for a look after every pair.

    Args:
        first: shape (rows, columns), or (rows,) for one column; finite; at least 2 rows.
        second: the same with as many columns; at most 4,096 rows in both.
        strata: shape (rows of both,), whole numbers from 0, those of ``first`` in front: labels are exchanged within a stratum only.
            The numbers of pairs make it a test by pairs. None: one stratum.
        plan: how the null is drawn; None: 9,999 permutations on all threads.

    Raises:
        ShapeInvalidError: the samples have other dimensions, different columns, or strata that do not belong to their rows.
        TooFewRowsError: a sample has less than 2 rows.
        TooManyRowsError: both have more than 4,096.
        NotFiniteError: a value is NaN or infinite.
        ValueOverflowError: a number of the plan is negative or too large, or two rows are more than 1e140 apart in a value.
    """
    plan = plan or NullPlan()
    told = _allocator.discrepancy(
        rows("first", first, np.float64),
        rows("second", second, np.float64),
        _strata(strata),
        permutations=plan.permutations,
        seed=plan.seed,
        threads=plan.threads,
    )
    return Discrepancy(*told)


def _strata(strata: ArrayLike | None) -> NDArray[np.uint32]:
    if strata is None:
        return np.zeros(0, dtype=np.uint32)
    given = np.asarray(strata)
    whole = given.ndim == 1 and given.dtype.kind in "iu"
    if not whole or (given.size and (given.min() < 0 or given.max() > np.iinfo(np.uint32).max)):
        raise ShapeInvalidError("strata must be one row of whole numbers from 0 to 4,294,967,295")
    return np.ascontiguousarray(given, dtype=np.uint32)
