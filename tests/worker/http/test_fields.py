"""Fields of a request."""

from __future__ import annotations

from typing import Any

import pytest

from echoplaned.worker.http.fields import Fields
from echoplaned.worker_contract.inference.errors import FieldError


def test_what_nobody_reads_is_refused_unless_it_says_nothing() -> None:
    """Null and a harmless value are fine; another value, or an unknown name, is refused by its full name."""
    fields = Fields({"a": 1, "b": None, "store": False, "n": None}, "messages[2]")
    assert fields.whole("a", 0, 5) == 1
    fields.finish({"store": (False,)})
    for data in ({"store": True}, {"store": 0}, {"other": 1}):
        with pytest.raises(FieldError) as caught:
            Fields(data, "messages[2]").finish({"store": (False,)})
        assert caught.value.param == f"messages[2].{next(iter(data))}"


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda one: one.text("x"), 3),
        (lambda one: one.text("x"), "\udc00"),
        (lambda one: one.truth("x"), 1),
        (lambda one: one.whole("x", 0, 3), True),
        (lambda one: one.whole("x", 0, 3), 4),
        (lambda one: one.whole("x", 0, 3), 1.0),
        (lambda one: one.number("x", 0, 3), "1"),
        (lambda one: one.number("x", 0, 3), False),
        (lambda one: one.number("x", 0, 3), 3.5),
        (lambda one: one.texts("x", 2, alone=True), ["a", "b", "c"]),
        (lambda one: one.texts("x", 2, alone=True), [""]),
        (lambda one: one.texts("x", 2, alone=False), "a"),
        (lambda one: one.texts("x", 2, alone=True), [1]),
        (lambda one: one.child("x"), [1]),
        (lambda one: one.children("x", 3), []),
        (lambda one: one.children("x", 3), [1]),
        (lambda one: one.children("x", 3), [{}, {}, {}, {}]),
        (lambda one: one.children("x", 3), None),
        (lambda one: one.require("x"), None),
    ],
)
def test_values_of_another_kind(read: Any, value: Any) -> None:
    """Each is refused with the field's name."""
    with pytest.raises(FieldError) as caught:
        read(Fields({"x": value}))
    assert caught.value.param.startswith("x")


def test_values_are_read() -> None:
    """Whole numbers are numbers, one text stands for a list of one, what is left out has its default."""
    fields = Fields({"n": 2, "stop": "a", "o": {"p": [{"q": "é"}]}})
    assert (fields.number("n", 0, 3), fields.texts("stop", 4, alone=True)) == (2.0, ("a",))
    child = fields.child("o")
    assert child is not None
    (grandchild,) = child.children("p", 3)
    assert (grandchild.text("q"), grandchild.name("q")) == ("é", "o.p[0].q")
    assert (fields.text("t"), fields.truth("f"), fields.whole("w", 0, 1), fields.texts("s", 1, alone=True)) == (
        None,
        False,
        None,
        (),
    )
