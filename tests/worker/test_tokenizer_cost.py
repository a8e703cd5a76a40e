"""What a tokenizer's rules say of its cost, and how long a text it lets in."""

from __future__ import annotations

import unicodedata

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from echoplaned.worker.tokenizer_cost import TokenizerCost, read_cost
from echoplaned.worker.tokenizing import tokenize
from echoplaned.worker_contract.inference.errors import InvalidInputError
from echoplaned.worker_contract.inference.lengths import check_text_lengths, text_limit


def words() -> Tokenizer:
    """Return a tokenizer of two words."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def expression() -> pre_tokenizers.PreTokenizer:
    """Return an expression that tries every way to split a run of one letter."""
    return pre_tokenizers.Split(Regex("(a+)+$"), "isolated")


def word_pieces(word_characters: int) -> Tokenizer:
    """Return a tokenizer of one letter, whose words may have so many."""
    return Tokenizer(
        models.WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, unk_token="[UNK]", max_input_chars_per_word=word_characters)
    )


def unigrams(longest: int) -> Tokenizer:
    """Return a tokenizer of one letter and of all runs of it."""
    return Tokenizer(models.Unigram([("?", -1.0), *(("a" * n, -5.0 - n) for n in range(1, longest + 1))], 0, False))


def test_costs_are_read_from_the_rules() -> None:
    """Growth multiplies along the rules; an expression anywhere makes the time unknown."""
    plain = words()
    plain.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(" ", "_"), normalizers.Prepend("__")]
    )
    assert read_cost(plain) == TokenizerCost(1, True)
    grows = words()
    grows.normalizer = normalizers.Sequence([normalizers.Replace("x", "y" * 40), normalizers.Replace("yy", "z" * 200)])
    assert read_cost(grows) == TokenizerCost(4000, True)
    split = words()
    split.pre_tokenizer = expression()
    assert read_cost(split) == TokenizerCost(1, False)
    nested = words()
    nested.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), expression()])
    nested.normalizer = normalizers.Replace(Regex("x|y"), "zz")
    assert read_cost(nested) == TokenizerCost(3, False)
    assert read_cost(Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))) == TokenizerCost()


@pytest.mark.parametrize(
    ("rule", "growth"),
    [
        (normalizers.Prepend("_" * 18), 1),
        (normalizers.Prepend("_" * 1800), 100),
        (normalizers.Replace("", "_" * 99), 100),
        (normalizers.Replace(Regex("x*"), "_" * 99), 100),
    ],
)
def test_what_is_put_in_beside_a_character_counts(rule: normalizers.Normalizer, growth: int) -> None:
    """An empty match leaves the character where it is, and what is put before a text comes again after each special token."""
    tokenizer = words()
    tokenizer.normalizer = rule
    assert read_cost(tokenizer).growth == growth
    assert len(rule.normalize_str("aaaa")) <= 5 * growth * 18


def test_a_table_of_characters_may_make_more_of_one() -> None:
    """The longest text in SentencePiece's table bounds what comes of a character."""
    tree = bytes(8)
    table = len(tree).to_bytes(4, "little") + tree + b"fi\0" + b"x" * 1800 + b"\0"
    tokenizer = words()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(table), normalizers.NFKC()])
    assert read_cost(tokenizer).growth == 100
    unicode_form = unicodedata.normalize("NFKC", "\ufdfa").encode()
    assert len(unicode_form) == 33
    tokenizer.normalizer = normalizers.Precompiled(len(tree).to_bytes(4, "little") + tree + unicode_form + b"\0")
    assert read_cost(tokenizer).growth == 1, "Unicode's longest form has 18 characters"


@pytest.mark.parametrize(
    ("tokenizer", "reach"),
    [
        (word_pieces(100), 1),
        (word_pieces(1_000), 15),
        (word_pieces(10**9), 256),
        (unigrams(16), 1),
        (unigrams(640), 40),
    ],
)
def test_how_far_it_looks_ahead(tokenizer: Tokenizer, reach: int) -> None:
    """Checkpoints' own lengths of words and pieces cost nothing more; the shortest text limit stays whatever they say."""
    cost = read_cost(tokenizer)
    assert (cost.growth, cost.is_linear, cost.reach) == (1, True, reach)
    assert text_limit(32, cost.work) == 4096


@pytest.mark.parametrize(("tokenizer", "looked_at"), [(word_pieces(10**9), 2**24), (unigrams(2_000), 2**24)])
def test_the_longest_text_is_answered(tokenizer: Tokenizer, looked_at: int) -> None:
    """A context of 64 ki tokens would let four million characters in: what is let in bounds what is looked at."""
    work = read_cost(tokenizer).work
    limit = text_limit(64 * 1024, work)
    assert limit * min(limit, 2_000) <= looked_at
    with pytest.raises(InvalidInputError, match=f"no text over {limit} characters"):
        check_text_lengths(["a" * (limit + 1)], 64 * 1024, work)
    assert tokenize(tokenizer, ["a" * limit], 64 * 1024, truncate=False)[0]


def test_texts_that_would_grow_are_refused_sooner() -> None:
    """The limit holds for what the tokenizer makes of a text."""
    check_text_lengths(["x" * 4096], 32)
    check_text_lengths(["x" * 4096], 32, work=4)
    check_text_lengths(["x" * 262], 32, work=4000)
    with pytest.raises(InvalidInputError, match="no text over 262 characters"):
        check_text_lengths(["x" * 263], 32, work=4000)
