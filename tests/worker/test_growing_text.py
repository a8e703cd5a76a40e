"""Text that grows: whole characters, and stop texts that are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from echoplaned.worker.growing_text import MAX_SILENT, MAX_UNFINISHED, Detokenizer, StopTexts
from echoplaned.worker.token_bytes import TokenBytes
from tests.models import Checkpoints


@pytest.fixture(scope="module")
def tokenizer(checkpoints: Checkpoints) -> Tokenizer:
    """The small decoder's tokenizer, whose tokens are bytes and pieces of words."""
    return Tokenizer.from_file(str(Path(checkpoints.decoder) / "tokenizer.json"))


def decode_with(tokenizer: Tokenizer) -> Detokenizer:
    """Return a detokenizer over a tokenizer."""
    return Detokenizer(lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.integers(0, 8))
def test_pieces_are_whole_characters_and_add_up(tokenizer: Tokenizer, text: str, cut: int) -> None:
    """Whatever the tokens' borders are, no piece but the last holds half a character, and all are the whole text."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    ids = ids[: max(1, len(ids) - cut)] if ids else [5]
    growing = decode_with(tokenizer)
    pieces = [growing.push(one, last=index == len(ids) - 1) for index, one in enumerate(ids)]
    assert "".join(pieces) == tokenizer.decode(ids)
    assert not any("\ufffd" in piece for piece in pieces[:-1] if "\ufffd" not in text)


def test_what_is_no_text_is_not_held_back_for_ever(tokenizer: Tokenizer) -> None:
    """Bytes that never become a character are shown after some tokens, so that no token costs more the longer it goes on."""
    byte = next(one for one in range(tokenizer.get_vocab_size()) if TokenBytes(tokenizer).of(one) == b"\xed")
    growing = decode_with(tokenizer)
    pieces = [growing.push(byte, last=False) for _ in range(3 * MAX_UNFINISHED)]
    assert max(map(len, pieces)) == MAX_UNFINISHED
    assert growing.finish() == "" or set("".join(pieces)) == {"\ufffd"}


def test_a_space_that_a_decoder_drops_at_the_beginning_is_kept_between_pieces() -> None:
    """Decoders of words with a mark for the space drop the first one of a text only."""
    words = {"\u2581the": 0, "\u2581river": 1, "s": 2}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="s"))
    tokenizer.decoder = decoders.Metaspace()
    growing = decode_with(tokenizer)
    assert [growing.push(one, last=False) for one in (0, 1, 2)] == ["the", " river", "s"]


def words_with_marks() -> Tokenizer:
    """Return a tokenizer of words with a mark for the space, and a special token, 4."""
    tokenizer = Tokenizer(models.WordLevel({"\u2581the": 0, "\u2581river": 1, "s": 2, "\u2581": 3}, unk_token="s"))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<|tool|>"])
    return tokenizer


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_special_tokens_take_no_space_away(ids: list[int]) -> None:
    """Wherever tokens without text stand, the pieces are the text of all tokens."""
    tokenizer = words_with_marks()
    growing = decode_with(tokenizer)
    pieces = [growing.push(one, last=index == len(ids) - 1) for index, one in enumerate(ids)]
    assert "".join(pieces) == tokenizer.decode(ids)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=7), st.lists(st.integers(0, 4), min_size=1, max_size=7))
def test_a_text_that_goes_on_begins_where_the_one_before_ends(before: list[int], ids: list[int]) -> None:
    """The pieces are what the tokens add to the text before them, the space at their beginning included."""
    tokenizer = words_with_marks()
    growing = Detokenizer(tokenizer.decode, before)
    pieces = [growing.push(one, last=index == len(ids) - 1) for index, one in enumerate(ids)]
    assert tokenizer.decode(before) + "".join(pieces) == tokenizer.decode(before + ids)


def test_a_text_before_that_ends_within_a_character_is_left_out(tokenizer: Tokenizer) -> None:
    """Half a character is no text that anything could be told to follow."""
    byte = next(one for one in range(tokenizer.get_vocab_size()) if TokenBytes(tokenizer).of(one) == b"\xed")
    ids = tokenizer.encode("river", add_special_tokens=False).ids
    growing = Detokenizer(tokenizer.decode, [byte])
    assert "".join(growing.push(one, last=False) for one in ids) == "river"


def test_tokens_without_text_are_not_kept_for_ever() -> None:
    """However many special tokens come, no step decodes more of them, and the space after them is there."""
    tokenizer, most = words_with_marks(), 0

    def decode(ids: list[int]) -> str:
        nonlocal most
        most = max(most, len(ids))
        return str(tokenizer.decode(ids))

    growing = Detokenizer(decode)
    pieces = [growing.push(one, last=False) for one in (0, *[4] * 10 * MAX_SILENT, 1)]
    assert (pieces[0], pieces[-1], most) == ("the", " river", MAX_SILENT + 2)


@settings(max_examples=200, deadline=None)
@given(
    st.text("ab\n", max_size=20),
    st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.integers(1, 4), min_size=1, max_size=20),
)
def test_stop_texts_end_where_they_would_in_the_whole_text(text: str, stops: list[str], sizes: list[int]) -> None:
    """However a text is cut into pieces, what is shown ends before the first stop text that the whole has."""
    pieces, at = [], 0
    for size in [*sizes, len(text) or 1]:
        pieces.append(text[at : at + size])
        at += size
    growing = StopTexts(stops)
    shown, found = "", None
    for index, piece in enumerate(pieces):
        growth = growing.push(piece, last=index == len(pieces) - 1)
        shown += growth.text
        found = growth.stop
        if found is not None:
            break
    places = [text.find(stop) for stop in stops if stop in text]
    if not places:
        assert (shown, found) == (text, None)
    else:
        assert found in stops
        assert not any(stop in shown for stop in stops)
        assert text.startswith(shown + str(found))
        assert len(shown + str(found)) == min(text.find(stop) + len(stop) for stop in stops if stop in text)


def test_of_stop_texts_that_overlap_the_first_that_is_whole_ends_it() -> None:
    """One that begins later may be whole earlier, and ends the answer there, also where one token brings both."""
    for pieces in (["xabcd"], ["xabc", "d"], ["x", "a", "b", "c", "d"]):
        growing = StopTexts(["abcd", "bc"])
        grown = [growing.push(piece, last=False) for piece in pieces]
        ended = next(index for index, growth in enumerate(grown) if growth.stop is not None)
        assert "".join(growth.text for growth in grown[: ended + 1]) == "xa"
        assert grown[ended].stop == "bc"


def test_only_what_may_begin_a_stop_text_is_held_back() -> None:
    """A text goes out at once but for its end, where that begins a stop text."""
    growing = StopTexts(["END."])
    assert growing.push("the EN", last=False).text == "the "
    assert growing.push("EMY ", last=False).text == "ENEMY "
    assert growing.push("END", last=True).text == "END"
