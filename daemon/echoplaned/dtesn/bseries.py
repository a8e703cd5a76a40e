"""B-series of Runge-Kutta methods, exact in Q and Q(sqrt d).

In the normalisation of Hairer, Lubich and Wanner ("Geometric Numerical Integration", chapter III) a series is
y + sum over trees t of h**|t| / symmetry(t) * a(t) * F(t)(y). A method has its elementary weights as a, the exact solution
1 / density(t); a method is of order p where both agree on all trees of up to p nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from os import PathLike
from typing import Final, TypeAlias

from echoplaned import _allocator
from echoplaned.dtesn._numbers import whole_numbers
from echoplaned.dtesn.errors import NumberInvalidError

METHODS: Final[tuple[str, ...]] = tuple(_allocator.ButcherTableau.names())
"""Names that `Tableau.named` knows."""


@dataclass(frozen=True, slots=True)
class Surd:
    """A number ``rational + root * sqrt(radicand)`` of a quadratic field.

    Attributes:
        rational: the rational part, exact.
        root: the exact factor of the square root.
        radicand: the number under the root; square-free, from 2 to 9,999.
    """

    rational: Fraction
    root: Fraction
    radicand: int

    def __float__(self) -> float:
        return float(self.rational) + float(self.root) * math.sqrt(self.radicand)

    def __str__(self) -> str:
        sign = "-" if self.root < 0 else "+"
        return f"{self.rational}{sign}{abs(self.root)}*sqrt({self.radicand})"


Exact: TypeAlias = Fraction | Surd
"""A rational number, or one of Q(sqrt d)."""
Given: TypeAlias = int | str | Fraction | Surd
"""What is taken for a number; no float, which is not exact."""


@dataclass(frozen=True, slots=True)
class RootedTree:
    """A rooted tree with the two numbers that a B-series takes of it.

    Attributes:
        levels: the canonical level sequence: each node's level in preorder, the root on level 1.
        symmetry: the order of the tree's group of automorphisms, from 1.
        density: the product over all nodes of the number of nodes at and below, from 1.
    """

    levels: tuple[int, ...]
    symmetry: int
    density: int

    @property
    def order(self) -> int:
        """Number of nodes."""
        return len(self.levels)


@whole_numbers
def trees(order: int) -> tuple[RootedTree, ...]:
    """Return all rooted trees of up to ``order`` nodes, 1 to 10.

    They come in the order that every series here has.

    Raises:
        OrderInvalidError: the order is outside; the message has the count of its trees.
    """
    return tuple(RootedTree(tuple(levels), *numbers) for levels, *numbers in _allocator.series_trees(order))


class Tableau:
    """A consistent Runge-Kutta tableau.

    Args:
        a: the matrix by rows, which may be short: what lacks is 0.
        b: the weights, 1 to 16 of them.
        c: the nodes; None takes the row sums.

    Raises:
        NumberInvalidError: an entry is no exact number.
        TableauInvalidError: the shape is wrong, or there are two different roots.
        TableauInconsistentError: row sums differ from c, or the weights do not add up to 1.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, a: Sequence[Sequence[Given]], b: Sequence[Given], c: Sequence[Given] | None = None) -> None:
        nodes = None if c is None else _texts(c)
        self._native = _allocator.ButcherTableau([_texts(row) for row in a], _texts(b), nodes)

    @classmethod
    def named(cls, name: str) -> Tableau:
        """Return a method of `METHODS`.

        Raises:
            MethodUnknownError: it is not one of them.
        """
        made = cls.__new__(cls)
        made._native = _allocator.ButcherTableau.named(name)  # noqa: SLF001 - its own class
        return made

    @property
    def a(self) -> tuple[tuple[Exact, ...], ...]:
        """The matrix, by rows."""
        return tuple(_exact(row) for row in self._native.a)

    @property
    def b(self) -> tuple[Exact, ...]:
        """The weights."""
        return _exact(self._native.b)

    @property
    def c(self) -> tuple[Exact, ...]:
        """The nodes."""
        return _exact(self._native.c)


class Series:
    """The elementary weights of a method on all trees of bounded size.

    The trees have up to ``order`` nodes, 1 to 10.

    Raises:
        OrderInvalidError: the order is outside; the message has the count of its trees.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, tableau: Tableau, order: int) -> None:
        self._native = _allocator.MethodSeries(tableau._native, order)  # noqa: SLF001 - one module

    @classmethod
    def _of(cls, native: _allocator.MethodSeries) -> Series:
        made = cls.__new__(cls)
        made._native = native  # noqa: SLF001 - its own class
        return made

    @property
    def order(self) -> int:
        """The largest number of nodes."""
        return self._native.order

    @property
    def method_order(self) -> int:
        """The method's order, or that of the series where the latter is lower."""
        return self._native.method_order

    @property
    def weights(self) -> tuple[Exact, ...]:
        """The elementary weight of each tree, in the order of `trees`."""
        return _exact(self._native.weights)

    @property
    def coefficients(self) -> tuple[Exact, ...]:
        """Weight by symmetry: the factors of h**|t| F(t)."""
        return _exact(self._native.coefficients)

    @property
    def residuals(self) -> tuple[Exact, ...]:
        """Weight - 1 / density: 0 where a tree's order condition holds."""
        return _exact(self._native.residuals)

    @property
    def principal_error(self) -> tuple[Exact, ...] | None:
        """Coefficients of the leading error term, by tree.

        That is (weight - 1 / density) / symmetry of the trees one node above the method's order; None where the series
        ends before.
        """
        found = self._native.principal_error
        return None if found is None else _exact(found)

    @property
    def principal_error_norm(self) -> float | None:
        """The 2-norm of the principal error."""
        return self._native.principal_error_norm

    def longest_step(self, tolerance: float) -> float | None:
        """Return the step whose leading error is ``tolerance``.

        It is in the unit of time in which elementary differentials are of size 1; None where the series ends before the
        leading error.
        """
        return self._native.longest_step(tolerance)


class SeriesCache:
    """Cache of computed series, in memory and optionally in a directory.

    Raises:
        CacheUnwritableError: the directory cannot be made.
    """

    __slots__ = ("_native",)

    @whole_numbers
    def __init__(self, directory: str | PathLike[str] | None = None) -> None:
        self._native = _allocator.SeriesCache(directory)

    @whole_numbers
    def get(self, tableau: Tableau, order: int) -> Series:
        """Return the series of a method.

        Raises:
            OrderInvalidError: as `Series`.
            CacheUnwritableError: the directory does not take the file.
        """
        return Series._of(self._native.get(tableau._native, order))  # noqa: SLF001 - one module

    @property
    def memory_hits(self) -> int:
        """How often a series was in memory."""
        return self._native.counters[0]

    @property
    def disk_hits(self) -> int:
        """How often a series was on disk."""
        return self._native.counters[1]

    @property
    def misses(self) -> int:
        """How often a series was computed."""
        return self._native.counters[2]


@whole_numbers
def compose(first: Sequence[Given], second: Sequence[Given], order: int) -> tuple[Exact, ...]:
    """Return the series of a step of ``first`` and then one of ``second``.

    It goes up to order 8.

    Raises:
        OrderInvalidError: the order is outside 1 to 8.
        ShapeInvalidError: there is not one value for each tree of `trees`.
        TableauInvalidError: there are two different roots.
    """
    return _exact(_allocator.series_compose(_texts(first), _texts(second), order))


@whole_numbers
def modified(weights: Sequence[Given], order: int) -> tuple[Exact, ...]:
    """Return the series of a method's modified equation, up to order 8.

    That is the series of the vector field whose exact flow is one step of the method.

    Raises:
        OrderInvalidError, ShapeInvalidError, TableauInvalidError: as `compose`.
    """
    return _exact(_allocator.series_modified(_texts(weights), order))


@whole_numbers
def scaled(weights: Sequence[Given], factor: Given, order: int) -> tuple[Exact, ...]:
    """Return the series of a method with ``factor`` times the step, up to order 8.

    Raises:
        OrderInvalidError, ShapeInvalidError, TableauInvalidError: as `compose`.
    """
    return _exact(_allocator.series_scaled(_texts(weights), _texts([factor])[0], order))


def _texts(values: Iterable[Given]) -> list[str]:
    texts = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | str | Fraction | Surd):
            raise NumberInvalidError(f"{value!r} is no exact number; give int, Fraction, Surd or text")
        try:
            texts.append(str(value))
        except ValueError as error:  # of an integer with more digits than Python writes
            raise NumberInvalidError(f"a number has too many digits: {error}") from error
    return texts


def _exact(texts: Iterable[str]) -> tuple[Exact, ...]:
    return tuple(_parse(text) for text in texts)


@lru_cache(maxsize=1 << 14)
def _parse(text: str) -> Exact:
    """Return the exact number that the native module wrote as text.

    The results are cached, because the weights of a method repeat and are read more than once.
    """
    if not text.endswith(")"):
        return _fraction(text)
    factors, radicand = text[:-1].split("*sqrt(")
    cut = max(factors.rfind("+"), factors.rfind("-"))
    return Surd(_fraction(factors[:cut]), _fraction(factors[cut:]), int(radicand))


def _fraction(text: str) -> Fraction:
    # A fraction of two integers is made in half the time that one of a text takes.
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator), int(denominator or 1))
