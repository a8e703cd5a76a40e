"""The maximum mean discrepancy against its formula in NumPy, under the null, and on bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from echoplaned.dtesn import NullPlan, errors, mmd

Floats = NDArray[np.float64]


def by_formula(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the statistic and the median distance, written with whole matrices."""
    rows = np.concatenate([first, second])
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    median = float(np.median(np.sqrt(squares[np.triu_indices(len(rows), 1)])))
    kernel = np.mean([np.exp(-squares / (2.0 * (width * median) ** 2)) for width in (0.5, 1.0, 2.0)], axis=0)
    np.fill_diagonal(kernel, 0.0)
    m, n = len(first), len(second)
    x, y, across = kernel[:m, :m], kernel[m:, m:], kernel[:m, m:]
    return float(x.sum() / (m * (m - 1)) + y.sum() / (n * (n - 1)) - 2.0 * across.mean()), median


@pytest.mark.parametrize(("m", "n", "width"), [(2, 2, 1), (3, 8, 2), (40, 25, 15), (150, 150, 7)])
def test_it_is_what_the_formula_says(m: int, n: int, width: int) -> None:
    """Statistic and median agree with NumPy's to rounding, on one thread and on three."""
    rng = np.random.default_rng(m)
    first, second = rng.normal(size=(m, width)), rng.normal(0.3, 1.2, size=(n, width))
    for threads in (1, 3):
        told = mmd(first, second, plan=NullPlan(permutations=0, threads=threads))
        assert (told.statistic, told.median) == pytest.approx(by_formula(first, second), rel=1e-10, abs=1e-12)
    assert (told.p_value, told.permutations) == (1.0, 0)


@pytest.mark.parametrize("paired", [False, True])
def test_equal_samples_are_rejected_at_the_level_that_was_asked(paired: bool) -> None:
    """Of 2,000 draws of equal distributions 5 % and 20 % are rejected, within four standard deviations; pairs may be alike."""
    rng = np.random.default_rng(7)
    draws, rows = 2_000, 20
    strata = np.tile(np.arange(rows), 2) if paired else None
    found = []
    for seed in range(draws):
        shared = 3.0 * rng.normal(size=(rows, 2)) if paired else np.zeros((rows, 2))
        first, second = (shared + rng.standard_t(4, size=(rows, 2)) for _ in range(2))
        found.append(mmd(first, second, strata, NullPlan(permutations=999, seed=seed, threads=1)).p_value)
    for level in (0.05, 0.2):
        rejected = int((np.array(found) <= level).sum())
        assert abs(rejected - level * draws) < 4.0 * math.sqrt(draws * level * (1.0 - level))


def test_a_difference_is_seen_and_repeatable() -> None:
    """A wider distribution with the same mean is found; the same seed gives the same answer on any number of threads."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(200, 3)), rng.normal(0.0, 1.8, size=(200, 3))
    one, many = (mmd(first, second, plan=NullPlan(seed=5, threads=threads)) for threads in (1, 4))
    assert one == many
    assert one.p_value <= 1e-3
    assert mmd(first, first[::-1]).statistic < 0.0


def test_one_dimension_is_one_column() -> None:
    """A flat array is one column, and single precision is taken as well."""
    rng = np.random.default_rng(4)
    flat = rng.normal(size=30).astype(np.float32)
    assert mmd(flat, flat + 1.0) == mmd(flat.reshape(-1, 1), (flat + 1.0).reshape(-1, 1))


GOOD = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("first", "second", "strata", "error"),
    [
        (GOOD, np.full((3, 2), np.nan), None, errors.NotFiniteError),
        (np.array([[0.0, np.inf]] * 2), GOOD, None, errors.NotFiniteError),
        (GOOD[:1], GOOD, None, errors.TooFewRowsError),
        (GOOD, np.zeros((0, 2)), None, errors.TooFewRowsError),
        (GOOD, np.zeros((3, 3)), None, errors.ShapeInvalidError),
        (np.zeros((2, 0)), np.zeros((2, 0)), None, errors.ShapeInvalidError),
        (GOOD, np.zeros((2, 2, 2)), None, errors.ShapeInvalidError),
        (np.zeros((4000, 1)), np.zeros((97, 1)), None, errors.TooManyRowsError),
        (GOOD, GOOD, [0, 1], errors.ShapeInvalidError),
        (GOOD, GOOD, [0, 1, 2, 0, 1, -2], errors.ShapeInvalidError),
        (GOOD, GOOD, [0.5] * 6, errors.ShapeInvalidError),
    ],
)
def test_what_cannot_be_compared_has_an_error_of_its_own(
    first: Floats, second: Floats, strata: list[int] | None, error: type[errors.DtesnError]
) -> None:
    """NaN, infinity, too few or too many rows, unequal widths and strata of other rows are refused, each by its class."""
    with pytest.raises(error):
        mmd(first, second, strata)


def test_numbers_of_the_plan_that_cannot_be_are_refused() -> None:
    """A negative number of permutations is a mistake of the caller, not of the conversion."""
    with pytest.raises(errors.ValueOverflowError):
        mmd(GOOD, GOOD, plan=NullPlan(permutations=-1))
