"""Logs: every line is one JSON object in ASCII, whatever is put into it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from echoplaned.settings import LogLevel
from echoplaned.telemetry.logging import MAX_VALUE_CHARACTERS, configure_logging, log_context


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Give both logging systems back as they were found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was written."""
    assert stream.getvalue().isascii()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_level_time_name_and_context() -> None:
    """Ids that are bound come on every line within, and on none after."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    log = structlog.get_logger("echoplaned.try")
    with log_context(request_id="r-1", model="m"):
        log.info("stage.entered", stage=3)
    log.warning("later")
    first, second = lines(stream)
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "stage.entered",
        "level": "info",
        "logger": "echoplaned.try",
        "request_id": "r-1",
        "model": "m",
        "stage": 3,
    }
    assert "request_id" not in second
    assert second["level"] == "warning"


def test_levels_are_kept_for_both_systems() -> None:
    """Lines below the level are not written, by structlog and by libraries alike; libraries come as JSON too."""
    stream = io.StringIO()
    configure_logging(LogLevel.WARNING, stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")
    with log_context(rollout="r7"):
        logging.getLogger("library").warning("loud %s", "enough\n")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["rollout"]) == (
        "loud enough\n",
        "library",
        "warning",
        "r7",
    )


def test_libraries_do_not_talk_about_themselves_at_info() -> None:
    """Alembic's and SQLAlchemy's own lines stay out, their warnings do not."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
    logging.getLogger("sqlalchemy.pool").warning("pool")
    assert [line["event"] for line in lines(stream)] == ["pool"]


def test_exceptions_are_one_line_with_their_trace() -> None:
    """A traceback is a field, without the values of variables."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    secret_value = "hun" + "ter2"
    try:
        int(secret_value[:0])
    except ValueError:
        structlog.get_logger().exception("broke")
        logging.getLogger("library").exception("broke too")
    for line in lines(stream):
        assert "ValueError: invalid literal" in line["exception"]
        assert "hunter2" not in line["exception"]
        assert line["level"] == "error"


def test_warnings_are_logged() -> None:
    """Python's warnings come as lines."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)
    assert "UserWarning: old" in lines(stream)[0]["event"]


class Circle:
    """A value that JSON does not know."""

    def __repr__(self) -> str:
        return "Circle()"


def test_values_that_json_does_not_know() -> None:
    """Objects, NaN, odd keys and values that hold themselves become text; no line is lost."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    log = structlog.get_logger()
    itself: list[object] = []
    itself.append(itself)
    log.info("a", value=Circle())
    log.info("b", value=float("nan"), count=1)
    log.info("c", value=itself)
    log.info("d", value={(1, 2): 3})
    assert [line["value"] for line in lines(stream)] == ["Circle()", "nan", "[[...]]", "{(1, 2): 3}"]


def test_long_values_are_cut() -> None:
    """A caller cannot fill the disk with one name."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    structlog.get_logger().info("a", name="x" * 1_000_000)
    (line,) = lines(stream)
    assert line["name"].endswith("... (1000000 characters)")
    assert len(line["name"]) < MAX_VALUE_CHARACTERS + 100


def test_a_stream_that_has_gone_does_not_end_the_daemon() -> None:
    """Writing to a closed stream loses the line and raises nothing."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    stream.close()
    structlog.get_logger().error("lost")
    assert stream.closed


@given(st.text(), st.text())
def test_any_text_is_one_line_of_ascii(event: str, value: str) -> None:
    """Newlines, terminal sequences, half characters and directional marks are escaped and come back as they were."""
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, stream)
    structlog.get_logger().info(event, value=value)
    assert stream.getvalue().count("\n") == 1
    assert all(" " <= character < "\x7f" for character in stream.getvalue()[:-1])
    (line,) = lines(stream)
    assert (line["event"], line["value"]) == (event, value)
