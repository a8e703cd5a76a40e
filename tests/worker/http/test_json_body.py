"""JSON bodies within bounds."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from echoplaned.worker.http.json_body import MAX_DEPTH, parse_object
from echoplaned.worker.http.problems import RefusedError


def test_texts_may_hold_whatever_they_like() -> None:
    """Brackets, commas and quotes within texts are no structure, however many there are."""
    text = '[{",\\' * 5000
    assert parse_object(('{"a": ' + json.dumps(text) + "}").encode(), 10) == {"a": text}


def test_names_may_be_of_any_script() -> None:
    """Two halves of a character are one, and a mark before the body says no more than that it is UTF-8."""
    assert parse_object(b'\xef\xbb\xbf{"\\ud83d\\ude00": {"\xc3\xa9": 1}}', 10) == {"\N{GRINNING FACE}": {"é": 1}}


def test_nesting_is_bounded() -> None:
    """As deep as allowed is read, one deeper is not."""
    fits = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert "a" in parse_object(fits, 100)
    with pytest.raises(RefusedError, match="nested"):
        parse_object(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", 100)


@pytest.mark.parametrize("piece", [b"{}", b"[]", b'"",0', b"1.5"])
def test_what_would_take_too_much_memory_is_not_parsed(piece: bytes) -> None:
    """Sixteen MiB of the smallest values are refused without becoming objects."""
    body = b'{"a":[' + b",".join([piece] * (2**23 // len(piece))) + b"]}"
    tracemalloc.start()
    with pytest.raises(RefusedError, match="values"):
        parse_object(body, 10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(body)


def test_no_encoding_hides_values() -> None:
    """A sign of UTF-16 that has the byte of a quote in it does not begin a text in which brackets do not count."""
    body = '{"\u2200":[' + ",".join(["{}"] * 20_000) + "]}"
    with pytest.raises(RefusedError, match="not JSON"):
        parse_object(b"\xfe\xff" + body.encode("utf-16-be"), 10_000)


def test_texts_without_end_take_one_pass() -> None:
    """A text that never ends, full of what looks like beginnings of others, is looked at once."""
    began_s = time.monotonic()
    with pytest.raises(RefusedError):
        parse_object(b"{" * 40 + b'"' + b'\\"' * 2**20, 10_000)
    assert time.monotonic() - began_s < 20


def test_a_name_that_comes_twice_is_found_in_one_pass() -> None:
    """Of a hundred thousand names the last one comes again: it is named at once."""
    names = ",".join(f'"n{index}":1' for index in range(100_000))
    began_s = time.monotonic()
    with pytest.raises(RefusedError, match="'n99999' comes twice"):
        parse_object(f'{{{names},"n99999":1}}'.encode(), 200_000)
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b'"x"', "not a JSON object"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": -1e999}', "too large"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' comes twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON"),
        (b'{"a": [{"x\\ud800": 1}]}', "half a character"),
        (b'{"\\udc00": 1, "\\ud800": 2}', "half a character"),
    ],
)
def test_what_is_no_request(body: bytes, says: str) -> None:
    """Each is refused with 400 and says why."""
    with pytest.raises(RefusedError, match=says) as caught:
        parse_object(body, 100)
    assert caught.value.problem.status == 400
