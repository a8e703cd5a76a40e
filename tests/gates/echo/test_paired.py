"""Both versions on the same texts against the margin."""

from __future__ import annotations

import math

import numpy as np

from echoplaned.gates.echo.paired import DistanceMeasure, PairedTest, TextDistance, compare

TEST = PairedTest(DistanceMeasure.KL, margin=0.004, alpha=0.001, pass_alpha=0.05)


def texts(mean: float, count: int = 48, tokens: int = 20, seed: int = 0) -> tuple[TextDistance, ...]:
    """Draw texts whose tokens differ by exponential distances."""
    rng = np.random.default_rng(seed)
    return tuple(TextDistance(f"text {n}", tuple(rng.exponential(mean, tokens))) for n in range(count))


def test_small_differences_are_within() -> None:
    """A re-quantisation's distance, a third of the margin, passes with 48 texts of 20 tokens."""
    result = compare(texts(TEST.margin / 3), TEST)
    assert result.is_within
    assert not result.is_beyond
    assert result.lower < result.mean < result.upper < TEST.margin
    assert (result.texts, result.tokens) == (48, 960)


def test_large_differences_are_beyond() -> None:
    """Three margins are beyond, and the texts that moved most come first."""
    result = compare((*texts(3 * TEST.margin), TextDistance("far", (1.0, 2.0))), TEST)
    assert result.is_beyond
    assert not result.is_within
    assert result.lower > TEST.margin
    assert result.moved[0].text == "far"
    assert result.clipped > 0


def test_identical_versions_pass_and_few_texts_do_not_decide() -> None:
    """Distances of 0 pass once there are enough; two tokens are not enough, whatever they say of the rest."""
    assert compare(texts(0.0, count=4), TEST).is_within
    few = compare((TextDistance("a", (0.0, 0.0)),), TEST)
    assert not few.is_within
    assert not few.is_beyond


def test_nothing_decides_nothing() -> None:
    """Without a text, or with texts without a distance, neither side is shown."""
    for given in ((), (TextDistance("a", ()),)):
        result = compare(given, TEST)
        assert (result.texts, result.is_within, result.is_beyond) == (0, False, False)


def test_what_is_not_finite_counts_as_far_as_can_be() -> None:
    """NaN and infinity count at the ceiling, and mark the text."""
    result = compare((TextDistance("nan", (math.nan, 0.0)), TextDistance("inf", (math.inf,))), TEST)
    assert result.clipped == 2
    assert result.mean == 2 * TEST.ceiling / 3
    assert all(math.isinf(text.mean) for text in result.moved)


def test_one_distance_a_text_decides_too() -> None:
    """For embeddings 48 distances of a third of the margin suffice to pass, and of three margins to fail."""
    test = PairedTest(DistanceMeasure.COSINE, margin=0.001, alpha=0.001, pass_alpha=0.05)
    assert compare(texts(test.margin / 3, tokens=1), test).is_within
    assert compare(texts(3 * test.margin, tokens=1), test).is_beyond
