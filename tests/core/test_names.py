"""Resource names: what is written is read back, and nobody else writes one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane import names as client
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import (
    CHILD_ID,
    KEY_ID,
    MODEL_ID,
    OPERATION_ID,
    ResourceKind,
    ResourceName,
    key_name,
    model_name,
    operation_name,
    parse,
    rollout_name,
    version_name,
)

ROOT = Path(__file__).parents[2]
MODELS = st.from_regex(MODEL_ID, fullmatch=True)
CHILDREN = st.from_regex(CHILD_ID, fullmatch=True)
NAMES = st.one_of(
    st.builds(ResourceName, st.just(ResourceKind.MODEL), MODELS),
    st.builds(ResourceName, st.sampled_from((ResourceKind.VERSION, ResourceKind.ROLLOUT)), MODELS, CHILDREN),
    st.builds(ResourceName, st.just(ResourceKind.OPERATION), st.just(""), st.from_regex(OPERATION_ID, fullmatch=True)),
    st.builds(ResourceName, st.just(ResourceKind.KEY), st.just(""), st.from_regex(KEY_ID, fullmatch=True)),
)


@given(NAMES)
def test_what_is_written_is_read_back(name: ResourceName) -> None:
    """Reading is the inverse of writing, for every kind."""
    assert parse(str(name)) == name


@given(MODELS, CHILDREN)
def test_the_client_writes_the_same_names(model: str, child: str) -> None:
    """The light client has a grammar of its own for what people type; what it sends is ours."""
    assert client.model_name(model) == model_name(model)
    assert client.version_name(f"{model}/{child}") == version_name(model, child) == key_name(VersionKey(model, child))
    assert client.rollout_name(f"{model}/{child}") == rollout_name(model, child)
    assert client.is_version(version_name(model, child))
    assert client.is_rollout(rollout_name(model, child))


@pytest.mark.parametrize(
    "text",
    ["", "m", "models/", "models/M", "models/-a", "models/m/", "models/m/versions", "models/m/versions/", "models/m/versions/v/x",
     "models/m/shapes/v", "models/m/versions/v\n", "operations/", "operations/a/b", "Models/m", f"models/{'m' * 64}"],
)  # fmt: skip
def test_what_is_no_name_is_none(text: str) -> None:
    """Nothing is guessed: a bare id, another collection and an id out of bounds are no full names."""
    assert parse(text) is None


def test_kinds_are_the_names_of_messages() -> None:
    """Errors name a type as they always did: by its message."""
    assert (operation_name("o"), ResourceKind.OPERATION) == ("operations/o", "google.longrunning.Operation")
    assert {str(kind) for kind in ResourceKind} - {"google.longrunning.Operation"} == {
        "echoplane.v1.Model",
        "echoplane.v1.ModelVersion",
        "echoplane.v1.Rollout",
        "echoplane.v1.Key",
    }


def test_nobody_else_writes_a_name() -> None:
    """No f-string of the form of a name stands outside the two grammars, the daemon's and the client's."""
    pattern = re.compile(
        r"""\bf["'][^"'\n]*(?<![\w/])(?:models|operations)/\{|\bf["'][^"'\n]*/(?:versions|rollouts)/\{"""
    )
    grammars = {ROOT / "daemon/echoplaned/core/names.py", ROOT / "clients/python/src/echoplane/names.py"}
    sources = [*ROOT.glob("daemon/echoplaned/**/*.py"), *ROOT.glob("clients/python/src/echoplane/**/*.py")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(set(sources) - grammars)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
