"""B-series: exact orders, published values, and two other packages as oracles."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from echoplaned.dtesn import METHODS, Series, SeriesCache, Surd, Tableau, bseries, errors, trees
from tests.dtesn.orders import ORDERS

RATIONAL = [name for name in METHODS if name not in {"gauss4", "radau-iia5"}]


def number(levels: tuple[int, ...]) -> int:
    """Return a tree's place in every series."""
    return [tree.levels for tree in bseries.trees(len(levels))].index(levels)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_order_exactly(name: str) -> None:
    """All conditions up to the order hold, and one above it does not."""
    series = Series(Tableau.named(name), 8)
    assert series.method_order == ORDERS[name]
    assert any(value != 0 for value in series.principal_error or ())
    norm = math.sqrt(sum(float(value) ** 2 for value in series.principal_error or ()))
    assert series.principal_error_norm == pytest.approx(norm)
    step = series.longest_step(1e-6)
    assert step is not None
    assert norm * step ** (ORDERS[name] + 1) == pytest.approx(1e-6)


def test_classical_runge_kutta_on_two_trees() -> None:
    """At order 5 the tall tree has 0 for 1/120, and the bushy one 5/24 for 1/5."""
    series = Series(Tableau.named("rk4"), 5)
    assert series.residuals[:8] == (0,) * 8
    assert series.weights[number((1, 2, 3, 4, 5))] == 0
    assert series.weights[number((1, 2, 2, 2, 2))] == Fraction(5, 24)
    assert series.residuals[number((1, 2, 3, 4, 5))] == Fraction(-1, 120)


def test_the_published_error_norm() -> None:
    """The principal error norm of Dormand-Prince 5 is that of its paper, to the digits given there."""
    # Dormand, Prince, J. Comput. Appl. Math. 6, 1980: 3.99e-4.
    assert Series(Tableau.named("dormand-prince5"), 6).principal_error_norm == pytest.approx(3.99e-4, rel=2e-3)


@pytest.mark.parametrize("name", RATIONAL)
def test_kauri_agrees(name: str) -> None:
    """Elementary weights and modified equations are those of kauri, tree by tree."""
    kauri = pytest.importorskip("kauri")
    tableau = Tableau.named(name)
    method = kauri.RK([list(row) for row in tableau.a], list(tableau.b))
    weights, modified = method.elementary_weights_map(), method.modified_equation_map()
    ours = Series(tableau, 6).weights
    equation = bseries.modified(ours[:17], 5)
    for place, tree in enumerate(bseries.trees(6)):
        theirs = kauri.Tree(nested(tree.levels))
        assert (theirs.sigma(), theirs.factorial()) == (tree.symmetry, tree.density)
        assert weights(theirs) == ours[place]
        if tree.order <= 5:
            assert float(modified(theirs)) == pytest.approx(float(equation[place]), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("midpoint", "Mid22"),
        ("heun", "SSP22"),
        ("ssp3", "SSP33"),
        ("bogacki-shampine", "BS3"),
        ("rk4", "RK44"),
        ("dormand-prince5", "DP5"),
        ("radau-iia3", "RadauIIA2"),
    ],
)
def test_nodepy_agrees(name: str, theirs: str) -> None:
    """Error coefficients, densities and symmetries are those of nodepy, tree by tree."""
    pytest.importorskip("six")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nodepy's own source has invalid escapes
        rooted = pytest.importorskip("nodepy.rooted_trees")
        methods = pytest.importorskip("nodepy.runge_kutta_method")
        method = methods.loadRKM(theirs)
        ours = Series(Tableau.named(name), 6).residuals
        for order in range(3, 7):  # below, nodepy gives an array for its one tree
            for tree, value in zip(rooted.list_trees(order), method.error_coeffs(order), strict=True):
                place = number(canonical(str(tree)))
                known = bseries.trees(6)[place]
                assert (tree.density(), tree.symmetry()) == (known.density, known.symmetry)
                assert Fraction(str(value)) == cast(Any, ours[place]) / known.symmetry


def nested(levels: tuple[int, ...]) -> list[Any]:
    """Return a tree as nested lists of its children."""
    starts = [place for place in range(1, len(levels)) if levels[place] == levels[0] + 1]
    return [nested(levels[start:end]) for start, end in itertools.pairwise([*starts, len(levels)])]


def canonical(text: str) -> tuple[int, ...]:
    """Return the levels of a tree in nodepy's notation: braces are nodes with children, T^n is n leaves."""
    if text == "T":
        return (1,)
    levels, level, place = [], 0, 0
    while place < len(text):
        if text[place] == "{":
            level += 1
            levels.append(level)
        elif text[place] == "}":
            level -= 1
        elif text[place] == "T":
            power = re.match(r"T\^(\d+)", text[place:])
            levels.extend([level + 1] * (int(power[1]) if power else 1))
            place += power.end() - 1 if power else 0
        place += 1
    return trees.canonical(levels)


def test_gauss_and_radau_stay_in_their_fields() -> None:
    """Coefficients are a + b sqrt(3) and a + b sqrt(6); the elementary weights of these methods are rational."""
    gauss = Tableau.named("gauss4")
    assert gauss.a[0][1] == Surd(Fraction(1, 4), Fraction(-1, 6), 3)
    assert all(isinstance(value, Fraction) for value in Series(gauss, 6).weights)
    radau = Tableau.named("radau-iia5")
    assert float(radau.c[0]) == pytest.approx((4 - math.sqrt(6)) / 10)
    assert Series(radau, 5).weights == tuple(Fraction(1, tree.density) for tree in bseries.trees(5))


def test_composition_and_steps() -> None:
    """Two half steps of the exact flow are a whole one, and the modified equation of an exact flow is the field itself."""
    exact = [Fraction(1, tree.density) for tree in bseries.trees(8)]
    half = bseries.scaled(exact, Fraction(1, 2), 8)
    assert bseries.compose(half, half, 8) == tuple(exact)
    assert bseries.modified(exact, 8) == (1, *[0] * 199)


def test_the_published_modified_equation_of_the_midpoint_method() -> None:
    """All 17 coefficients up to order 5 are those of BSeries.jl's tests, which have them from the Python package BSeries."""
    published = {
        (1,): "1",
        (1, 2): "0",
        (1, 2, 2): "-1/12",
        (1, 2, 3): "-1/6",
        (1, 2, 2, 2): "0",
        (1, 2, 3, 2): "0",
        (1, 2, 3, 3): "1/8",
        (1, 2, 3, 4): "1/8",
        (1, 2, 2, 2, 2): "7/240",
        (1, 2, 3, 2, 2): "1/40",
        (1, 2, 3, 2, 3): "1/30",
        (1, 2, 3, 3, 2): "3/80",
        (1, 2, 3, 3, 3): "-7/240",
        (1, 2, 3, 4, 2): "7/240",
        (1, 2, 3, 4, 3): "-1/40",
        (1, 2, 3, 4, 4): "-19/240",
        (1, 2, 3, 4, 5): "-1/20",
    }
    found = bseries.modified(Series(Tableau.named("midpoint"), 5).weights, 5)
    assert {tree.levels: str(value) for tree, value in zip(bseries.trees(5), found, strict=True)} == published


def test_the_published_modified_equation_of_the_average_vector_field() -> None:
    """A series of no tableau: coefficients by symmetry, of Celledoni, McLachlan, Owren, Quispel, Found. Comput. Math. 10, 2010."""
    weights: dict[tuple[int, ...], Fraction] = {}
    for tree in bseries.trees(5):
        children = nested(tree.levels)
        product = Fraction(1)
        for child in children:
            product *= weights[trees.canonical(levels_of(child))]
        weights[tree.levels] = product / (len(children) + 1) if children else Fraction(1)
    found = bseries.modified(list(weights.values()), 5)
    pairs = zip(bseries.trees(5), found, strict=True)
    by_symmetry = {tree.levels: Fraction(str(value)) / tree.symmetry for tree, value in pairs}
    published = {
        (1,): (1, 1),
        (1, 2, 3): (1, 12),
        (1, 2, 3, 4, 5): (9, 720),
        (1, 2, 3, 4, 4): (4, 720),
        (1, 2, 3, 4, 3): (2, 720),
        (1, 2, 3, 4, 2): (-4, 720),
        (1, 2, 3, 3, 3): (-1, 720),
        (1, 2, 3, 3, 2): (-4, 720),
        (1, 2, 3, 2, 3): (2, 720),
        (1, 2, 3, 2, 2): (-1, 720),
    }
    assert {levels: value for levels, value in by_symmetry.items() if value} == {
        levels: Fraction(*value) for levels, value in published.items()
    }


def levels_of(children: list[Any], level: int = 1) -> list[int]:
    """Return the levels of a tree given as nested lists of its children."""
    return [level, *(deep for child in children for deep in levels_of(child, level + 1))]


@pytest.mark.parametrize("first", METHODS)
def test_composition_is_the_method_of_both_steps(first: str) -> None:
    """A step of one method and then of another is one method with the stages of both: all pairs, all 200 trees, exactly."""
    one = Tableau.named(first)
    for second in METHODS:
        other = Tableau.named(second)
        if {first, second} == {"gauss4", "radau-iia5"}:
            continue  # two different roots are refused in one tableau
        zeros = [0] * len(other.b)
        rows = [*([*row, *zeros] for row in one.a), *([*one.b, *row] for row in other.a)]
        # A step of twice the length: halve it, so that the weights add up to 1.
        half = [[_half(value) for value in cast(list[Any], row)] for row in rows]
        both = Series(Tableau(half, [_half(value) for value in (*one.b, *other.b)]), 8).weights
        steps = [bseries.scaled(Series(method, 8).weights, Fraction(1, 2), 8) for method in (one, other)]
        assert bseries.compose(steps[0], steps[1], 8) == both, second


def _half(value: int | Fraction | Surd) -> Fraction | Surd:
    if isinstance(value, Surd):
        return Surd(value.rational / 2, value.root / 2, value.radicand)
    return Fraction(value) / 2


@pytest.mark.parametrize("name", METHODS)
def test_the_modified_equation_on_a_linear_problem_is_the_logarithm(name: str) -> None:
    """Of y' = y only the paths count, and the modified field is the logarithm of the stability function: up to order 8."""
    paths = [place for place, tree in enumerate(bseries.trees(8)) if max(tree.levels) == tree.order]
    weights = Series(Tableau.named(name), 8).weights
    stability = [Fraction(1), *(Fraction(str(weights[place])) for place in paths)]
    # ln R from R' = R (ln R)'.
    logarithm = [Fraction(0)]
    for n in range(1, 9):
        known = sum((k * logarithm[k] * stability[n - k] for k in range(1, n)), Fraction(0))
        logarithm.append(stability[n] - known / n)
    found = bseries.modified(weights, 8)
    assert [Fraction(str(found[place])) for place in paths] == logarithm[1:]


def test_the_cache_counts_and_survives(tmp_path: Path) -> None:
    """A series is computed once, found in memory, and found on disk by the next process."""
    tableau = Tableau.named("radau-iia5")
    first = SeriesCache(tmp_path / "series")
    weights = first.get(tableau, 6).weights
    assert first.get(tableau, 6).weights == weights
    assert (first.memory_hits, first.disk_hits, first.misses) == (1, 0, 1)
    again = SeriesCache(tmp_path / "series")
    assert again.get(tableau, 6).weights == weights
    assert (again.memory_hits, again.disk_hits, again.misses) == (0, 1, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.CacheUnwritableError):
        SeriesCache(tmp_path / "file")


def test_bad_tableaus_and_orders_are_refused() -> None:
    """What is not consistent, not exact, of a wrong shape or beyond order 10 has its error."""
    half = Fraction(1, 2)
    with pytest.raises(errors.TableauInconsistentError, match="the sum of b is 3/2, not 1"):
        Tableau([[], [1]], [half, 1])
    with pytest.raises(errors.TableauInconsistentError, match="row 1 of a is 1/2, not 1/3"):
        Tableau([[], ["1/2"]], [0, 1], c=[0, "1/3"])
    with pytest.raises(errors.TableauInvalidError):
        Tableau([[], []], ["1/2+1/2*sqrt(2)", "1/2-1/2*sqrt(3)"])
    with pytest.raises(errors.TableauInvalidError):
        Tableau([], [1])
    for value in (0.5, True, math.nan, 10**5000):
        with pytest.raises(errors.NumberInvalidError):
            Tableau([[value]], [1])  # type: ignore[list-item]
    for text in ("1/0", "0.5", "nan", "1*sqrt(4)"):
        with pytest.raises(errors.NumberInvalidError):
            Tableau([[text]], [1])
    with pytest.raises(errors.MethodUnknownError):
        Tableau.named("rk5")
    with pytest.raises(errors.OrderInvalidError, match="order 11 has 1842 trees"):
        Series(Tableau.named("rk4"), 11)
    with pytest.raises(errors.OrderInvalidError, match="order 9 has 286 trees; orders 1 to 8"):
        bseries.modified(Series(Tableau.named("rk4"), 9).weights, 9)
    with pytest.raises(errors.ShapeInvalidError):
        bseries.compose([1], [1, 2], 1)
