"""What a tokenizer makes of texts, and what it may cost."""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from echoplaned.worker.tokenizing import (
    check_vocabulary,
    detokenize,
    highest_token,
    tokenize,
)
from echoplaned.worker_contract.inference.errors import InvalidInputError, ModelFailedError


def words(unknown: str | None = "[UNK]") -> Tokenizer:
    """Return a tokenizer of two words."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def backtracking() -> Tokenizer:
    """Return a tokenizer whose expression tries every way to split a run of one letter."""
    tokenizer = words()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    return tokenizer


def test_texts_within_the_context() -> None:
    """A text is cut only if it may be; without tokens it is refused."""
    assert tokenize(words(), ["a a", "b"], 2, truncate=False) == [[1, 1], [0]]
    assert tokenize(words(), ["a a a"], 2, truncate=True) == [[1, 1]]
    for text, says in (("a a a", "3 tokens; this version's context_length is 2"), ("", "has no tokens")):
        with pytest.raises(InvalidInputError, match=says):
            tokenize(words(), [text], 2, truncate=False)


@pytest.mark.parametrize(
    ("text", "context_length", "row"),
    [
        ("a b a a a", 5, [8, 1, 0, 1, 9]),
        ("a b a", 5, [8, 1, 0, 1, 9]),
        ("a", 5, [8, 1, 9]),
        ("a b a", 2, [8, 9]),
        ("a b a", 1, [8]),
    ],
)
def test_a_text_that_is_cut_keeps_its_special_tokens(text: str, context_length: int, row: list[int]) -> None:
    """What stands around every text stands around one that was cut, as far as the context has room for it."""
    tokenizer = words()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 8), ("[SEP]", 9)]
    )
    assert tokenize(tokenizer, [text], context_length, truncate=True) == [row]
    assert tokenize(tokenizer, ["a a a"], 2, truncate=True, special=False) == [[1, 1]]


def test_a_panic_is_answered(capfd: pytest.CaptureFixture[str]) -> None:
    """A text for which the native code panics is its caller's error, and the tokenizer goes on."""
    tokenizer = backtracking()
    with pytest.raises(InvalidInputError, match=r"fails for this text: .*retry-limit"):
        tokenize(tokenizer, ["a" * 40 + "!"], 64, truncate=False)
    assert tokenize(tokenizer, ["aaa"], 64, truncate=False)
    assert "panicked" in capfd.readouterr().err


def test_what_the_library_refuses_is_answered() -> None:
    """It raises a plain exception for a word that it does not know; that is the caller's error too."""
    with pytest.raises(InvalidInputError, match="fails for this text"):
        tokenize(words(unknown=None), ["b"], 64, truncate=False)


def test_errors_of_ours_are_not_taken_for_the_librarys() -> None:
    """A mistake in a call is no property of a text."""
    with pytest.raises(TypeError):
        tokenize(words(), [7], 64, truncate=False)  # type: ignore[list-item]


def test_tokens_become_text() -> None:
    """Ids that the tokenizer lacks are left out; where its native code panics, the version has failed."""
    assert detokenize(words(), [1, 1, 99]) == "a a"
    broken = words()
    broken.decoder = decoders.Replace(Regex("(a+)+$"), "b")
    broken.add_tokens(["a" * 40 + "!"])
    with pytest.raises(ModelFailedError):
        detokenize(broken, [2])


def test_the_highest_token() -> None:
    """Added tokens count, and those that are put around every text, which need not be in any list."""
    tokenizer = words()
    assert highest_token(tokenizer) == 1
    tokenizer.add_tokens(["b"])
    assert highest_token(tokenizer) == 2
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 50)])
    assert highest_token(tokenizer) == 50


@pytest.mark.parametrize("row", [[-1], [0, 5], [2**62]])
def test_ids_that_the_model_lacks(row: list[int]) -> None:
    """They are their caller's error, before they meet other rows."""
    with pytest.raises(InvalidInputError, match=r"outside 0\.\.4"):
        check_vocabulary([[0, 4], row], 5)
