"""A context that nobody asked for: chosen at the first reservation, kept from then on."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.contexts import is_context_open, least_context, replaced_context, served_context
from echoplaned.core.effects import StartEngine
from echoplaned.core.engine_events import EngineLost
from echoplaned.core.events import InstancePlaced, Tick
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.spec import request_of
from echoplaned.core.state import Version
from echoplaned.core.step import step
from echoplaned.testing import builders

KEY = InstanceKey.parse("m/v1#0")
PLACE = on_one_device("host", 1000)


def version(context_length: int = 0, planned: int = 4096) -> Version:
    """Return a version that was just ordered."""
    order = builders.order(context_length=context_length)
    return Version(KEY.version, order.spec, order.facts, replace(order.plan, context_length=planned))


def test_the_shortest_that_is_offered() -> None:
    """2,048 tokens, or the model's own if less; an update gets no less than what serves, as far as the checkpoint goes."""
    assert [least_context(*one) for one in ((131_072,), (512,), (131_072, 8192), (4096, 8192), (1, 0))] == [
        2048,
        512,
        8192,
        4096,
        1,
    ]


def test_what_a_version_answers() -> None:
    """As asked for; else as chosen; else as it was planned."""
    assert served_context(version(512)) == 512
    assert served_context(version()) == 4096
    assert served_context(replace(version(), context_length=2304)) == 2304
    assert is_context_open(version())
    assert not is_context_open(version(512))
    assert not is_context_open(replace(version(), context_length=2304))


def test_an_open_context_is_not_asked_for() -> None:
    """Whoever sizes a shape whose context is open is asked for none, and not for 0 tokens."""
    assert request_of(version().spec.shape).context_length is None
    assert request_of(version(512).spec.shape).context_length == 512


def test_the_first_reservation_chooses_and_restarts_keep_it() -> None:
    """A plan with a shorter context is the version's from its first reservation on, and every engine is started with it."""
    order = builders.order(context_length=0, replicas=2)
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), order))
    shorter = replace(order.plan, context_length=2304, upper_bytes=1000)
    first = step(state, InstancePlaced(0.0, KEY, PLACE, state.reservation_epoch, shorter))
    (start,) = [effect for effect in first.effects if isinstance(effect, StartEngine)]
    assert start.spec.shape.context_length == 2304
    kept = first.state.models["m"].versions["v1"]
    assert (kept.context_length, kept.plan, kept.spec) == (2304, shorter, order.spec)
    # A plan that comes for the second replica changes nothing any more.
    second = InstanceKey(KEY.version, 1)
    longer = replace(order.plan, context_length=4096)
    state = builders.run(first.state, InstancePlaced(0.0, second, PLACE, first.state.reservation_epoch, longer))
    assert state.models["m"].versions["v1"].plan == shorter
    state = builders.run(state, EngineLost(1.0, KEY, 1, "gone"))
    again = step(state, Tick(60.0))
    starts = [effect for effect in again.effects if isinstance(effect, StartEngine)]
    assert [effect.spec.shape.context_length for effect in starts if effect.instance == KEY] == [2304]


def test_a_context_that_was_asked_for_is_not_chosen() -> None:
    """The specification says it, as in states of older releases."""
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), builders.order()))
    state = builders.run(state, InstancePlaced(0.0, KEY, PLACE, state.reservation_epoch))
    kept = state.models["m"].versions["v1"]
    assert (kept.context_length, served_context(kept)) == (0, 512)


def test_what_an_update_replaces() -> None:
    """An update asks for the serving version's context; a first load for nobody's, nor does a version for its own."""
    assert replaced_context(None, "v1") == 0
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), builders.order()))
    model = state.models["m"]
    assert (replaced_context(model, "v2"), replaced_context(model, "v1")) == (512, 0)
    assert replaced_context(replace(model, serving_version=""), "v2") == 0
