"""Any state comes back from the store as it went in."""

from __future__ import annotations

import dataclasses
import tempfile
import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echoplaned.core.calibration import EngineKey, MemorySample, SampleWindow
from echoplaned.core.endpoints import Endpoint, EndpointProtocol
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import DeviceShare, Placement
from echoplaned.core.rollout_state import Rollout, RolloutEntry
from echoplaned.core.state import Instance, Model, Operation, RoutesProgress, State, Version
from echoplaned.store import SqlStore
from echoplaned.store.read import read_state

IDS = st.text(st.characters(codec="utf-8"), max_size=8)
EPOCHS = st.integers(0, 2**62)
SIXTY_FOUR_BITS = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[object, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: SIXTY_FOUR_BITS,
    float: st.floats(allow_nan=False),
    str: st.text(st.characters(codec="utf-8"), max_size=12),
    # Their constructors refuse most of what their hints allow.
    Endpoint: st.builds(
        Endpoint,
        st.sampled_from(EndpointProtocol),
        st.sampled_from(["tcp://[::1]:1", "tcp://10.0.0.9:65535", "unix:/s"]),
    ),
    Placement: st.builds(
        Placement,
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.lists(
            st.builds(DeviceShare, st.sampled_from(["host", "cuda:0", "cuda:1"]), st.integers(0, 2**63 - 1)),
            min_size=1,
            unique_by=lambda share: share.device_id,
        ).map(tuple),
    ),
}


@cache
def of(hint: object) -> st.SearchStrategy[Any]:
    """Return a strategy for any type that the state is made of, so that a field added tomorrow is tried as well."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if (plain := PLAIN.get(hint)) is not None:
        return plain
    if origin is types.UnionType:
        return st.one_of(st.none(), *(of(argument) for argument in arguments if argument is not types.NoneType))
    if origin is tuple:
        endless = arguments[-1] is Ellipsis
        return st.lists(of(arguments[0]), max_size=2).map(tuple) if endless else st.tuples(*map(of, arguments))
    if origin is Mapping:
        return st.dictionaries(IDS, of(arguments[1]), max_size=2).map(MappingProxyType)
    assert isinstance(hint, type)
    return st.sampled_from(list(hint)) if issubclass(hint, StrEnum) else values(hint)


def values(cls: type[Any], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for a dataclass, with some fields known."""
    hints = typing.get_type_hints(cls)
    unknown = {field.name: of(hints[field.name]) for field in dataclasses.fields(cls) if field.name not in known}
    return st.builds(cls, **unknown, **known)


def named(cls: type[Any], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Return a strategy for values with names of their own."""
    return st.lists(st.tuples(IDS, values(cls, **known)), max_size=3, unique_by=lambda item: item[0])


NOTHING = st.just(())
ENTRIES = st.lists(values(RolloutEntry), max_size=3, unique_by=lambda entry: entry.sequence).map(
    lambda entries: tuple(sorted(entries, key=lambda entry: entry.sequence))
)
INSTANCES = st.lists(
    values(Instance, key=st.builds(InstanceKey, st.just(VersionKey("", "")), SIXTY_FOUR_BITS)),
    max_size=3,
    unique_by=lambda instance: instance.key.ordinal,
)
ROLLOUTS = named(
    Rollout,
    history=ENTRIES,
    stale_subscribers=NOTHING,
    stale_subscriber_count=st.just(0),
    hold=st.none(),
    stage=st.integers(0, 2**31 - 1),
)

READINGS = st.lists(values(MemorySample), min_size=1, max_size=3, unique_by=lambda reading: reading.subject).map(tuple)
CALIBRATIONS = st.dictionaries(values(EngineKey), READINGS, max_size=2).map(
    lambda windows: tuple(SampleWindow(key, windows[key]) for key in sorted(windows))
)


@st.composite
def model(draw: st.DrawFn, model_id: str) -> Model:
    """Draw a model whose parts lie where they say they do."""
    versions = {
        name: replace(
            found, key=VersionKey(model_id, name), instances=under(VersionKey(model_id, name), draw(INSTANCES))
        )
        for name, found in draw(named(Version, key=st.just(VersionKey("", "")), instances=NOTHING))
    }
    rollouts = [replace(found, rollout_id=name, model=model_id) for name, found in draw(ROLLOUTS)]
    under_way: bool = draw(st.booleans())
    current = rollouts.pop() if rollouts and under_way else None
    parts = {
        "model_id": st.just(model_id),
        "versions": st.just(MappingProxyType(versions)),
        "rollout": st.just(current),
    }
    drawn = draw(
        values(
            Model,
            past_rollouts=st.just(tuple(rollouts)),
            progress=st.just(RoutesProgress()),
            faults=NOTHING,
            waits=NOTHING,
            **parts,
        )
    )
    assert isinstance(drawn, Model)
    return drawn


def under(version: VersionKey, instances: list[Instance]) -> tuple[Instance, ...]:
    """Move instances to a version."""
    return tuple(replace(instance, key=InstanceKey(version, instance.key.ordinal)) for instance in instances)


@st.composite
def states(draw: st.DrawFn) -> State:
    """Draw a state: everything that is stored, at random."""
    models = {model_id: draw(model(model_id)) for model_id in draw(st.lists(IDS, max_size=3, unique=True))}
    taken: set[str] = set()
    operations: dict[str, Operation] = {}
    for name, operation in draw(named(Operation)):
        request_id = "" if operation.request_id in taken else operation.request_id
        taken.add(request_id)
        operations[name] = replace(operation, operation_id=name, request_id=request_id)
    ledger, route, sequence = draw(EPOCHS), draw(EPOCHS), draw(EPOCHS)
    state = State(
        models=MappingProxyType(models),
        operations=MappingProxyType(operations),
        reservation_epoch=ledger,
        route_epoch=route,
        announce_sequence=sequence,
    )
    return replace(state, calibrations=draw(CALIBRATIONS))


def assert_same(found: State, wanted: State) -> None:
    """Compare two states, the order of their maps as well."""
    assert found == wanted
    assert list(found.operations) == list(wanted.operations)
    assert list(found.models) == list(wanted.models)
    assert [list(model.versions) for model in found.models.values()] == [
        list(model.versions) for model in wanted.models.values()
    ]


@pytest.mark.long
@pytest.mark.timeout(400)  # drawing whole states takes most of it
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(first=states(), second=states())
def test_random_states_come_back(first: State, second: State) -> None:
    """A random state written into an empty store, and another one over it, come back exactly, from the same process and a new one."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore.open(Path(folder) / "state")
        start = store.load()
        one, two = replace(first, store_epoch=1), replace(without_altered_history(first, second), store_epoch=2)
        store.commit(start, one, ())
        assert_same(read(store), one)
        store.commit(one, two, ())
        # Rows that stay keep their places, so the order of maps is that of arrival: compare without it.
        assert read(store) == two
        store.close()
        again = SqlStore.open(Path(folder) / "state")
        assert read(again) == two
        again.close()


def read(store: SqlStore) -> State:
    """Read the state by its types alone: what is drawn at random is nothing that the daemon could be in."""
    with store.reading() as connection:
        return read_state(connection)


def without_altered_history(first: State, second: State) -> State:
    """Give rollouts of the second state that the first one has too a history that goes on from it: it is append-only."""
    old = {
        (m.model_id, r.rollout_id): r
        for m in first.models.values()
        for r in (*m.past_rollouts, *([m.rollout] if m.rollout else []))
    }

    def follow(rollout: Rollout) -> Rollout:
        before = old.get((rollout.model, rollout.rollout_id))
        if before is None:
            return rollout
        known = {entry.sequence for entry in before.history}
        new = [entry for entry in rollout.history if entry.sequence not in known]
        return replace(rollout, history=tuple(sorted((*before.history, *new), key=lambda entry: entry.sequence)))

    models = {
        name: replace(
            m, rollout=follow(m.rollout) if m.rollout else None, past_rollouts=tuple(map(follow, m.past_rollouts))
        )
        for name, m in second.models.items()
    }
    return replace(second, models=MappingProxyType(models))


def test_a_story_can_be_followed_step_by_step(store: SqlStore, story: ModuleType) -> None:
    """Sixty epochs with rollouts that begin, go on, end and are forgotten: after each one the store holds exactly that state."""
    before = store.load()
    for epoch in range(1, 61):
        after = story.state_at(epoch)
        store.commit(before, after, story.announces_at(epoch))
        assert_same(store.load(), after)
        before = after


def test_what_is_only_observed_is_not_stored(store: SqlStore, story: ModuleType) -> None:
    """Progress, stale subscribers, issued effects, devices and the count of stale events are empty after a start."""
    stored = story.state_at(11)
    found = stored.models["m"]
    observed = replace(
        found,
        progress=RoutesProgress(7, acknowledged=True),
        rollout=replace(found.rollout, stale_subscribers=("a",), stale_subscriber_count=1),
    )
    state = replace(
        stored, models=MappingProxyType({"m": observed}), issued=frozenset({("plan", 1)}), stale_event_count=4
    )
    store.commit(store.load(), state, ())
    assert store.load() == stored


def test_every_field_of_the_state_is_stored_or_known_not_to_be() -> None:
    """A field that is added to the state must be put on one of the two lists, and so cannot be forgotten in silence."""
    stored = {
        "models",
        "operations",
        "calibrations",
        "store_epoch",
        "reservation_epoch",
        "route_epoch",
        "announce_sequence",
    }
    observed = {
        "devices",
        "stale_event_count",
        "issued",
        "clients_reconnected_s",
        "measured",
        "short_devices",
        "released_s",
    }
    assert {field.name for field in dataclasses.fields(State)} == stored | observed


def test_only_what_changed_is_written(store: SqlStore, story: ModuleType) -> None:
    """Replacing one instance writes one instance, and an equal copy writes nothing."""
    from echoplaned.store.diff import changes_between

    before = story.state_at(5)
    assert all(
        not (c.deleted or c.updated or c.inserted) for c in changes_between(before, story.state_at(5)).tables.values()
    )
    version = before.models["m"].versions["v0"]
    changed = replace(version, instances=(replace(version.instances[0], failures=1),))
    model = replace(before.models["m"], versions=MappingProxyType({**before.models["m"].versions, "v0": changed}))
    found = changes_between(before, replace(before, models=MappingProxyType({"m": model})))
    written = {name: (len(c.deleted), len(c.updated), len(c.inserted)) for name, c in found.tables.items()}
    assert {name: counts for name, counts in written.items() if any(counts)} == {"instances": (0, 1, 0)}
