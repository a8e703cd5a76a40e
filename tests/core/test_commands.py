"""Commands: they can be refused, and they carry who gave them. Facts carry nothing that only one machine understands."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import replace

import pytest

from echoplaned.core.commands import Command, DeleteModel, LoadVersion, Request
from echoplaned.core.errors import ModelNotFoundError
from echoplaned.core.events import Event
from echoplaned.core.ids import LOCAL_PRINCIPAL
from echoplaned.core.step import step
from echoplaned.testing import builders


@pytest.mark.parametrize(("given", "kept"), [({}, LOCAL_PRINCIPAL), ({"principal": "ann"}, "ann")])
def test_an_operation_keeps_who_began_it(given: dict[str, str], kept: str) -> None:
    """Without an identity it is the local principal."""
    request = replace(Request(0.0, "op1"), **given)  # type: ignore[arg-type]  # the names are Request's own
    state = step(builders.empty_state(), LoadVersion(request, builders.order())).state
    assert state.operations["op1"].principal == kept


def test_a_refused_command_changes_nothing() -> None:
    """The state that was given is as it was, and there is no other one."""
    before = builders.empty_state()
    with pytest.raises(ModelNotFoundError):
        step(before, DeleteModel(Request(0.0, "op1"), "m"))
    assert before == builders.empty_state()


def test_every_command_says_who_asks() -> None:
    """Its request has the time, the ids and the principal."""
    for kind in typing.get_args(Command):
        assert typing.get_type_hints(kind)["request"] is Request


def fields_of(hint: object, seen: set[object]) -> set[str]:
    """Return the names of all fields that a type holds, however deep."""
    if hint in seen:
        return set()
    seen.add(hint)
    names = set().union(*(fields_of(argument, seen) for argument in typing.get_args(hint)))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        names |= {name for name in hints if not name.startswith("_")}
        names |= set().union(*(fields_of(each, seen) for each in hints.values()))
    return names


def test_no_fact_names_a_process_or_a_path() -> None:
    """Whoever leads an engine on another machine can say everything that the core wants to know."""
    names = fields_of(Event, set())
    assert {"leader_id", "endpoints", "detail"} <= names
    assert not names & {"pid", "path", "source_path", "state_dir", "start_ticks", "boot_id", "mark"}
