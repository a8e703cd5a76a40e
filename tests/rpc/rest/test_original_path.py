"""What a caller's own path and query say."""

from __future__ import annotations

import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.rpc.rest.original_path import check_parameters, read_original

TEMPLATE = "/api/models/{name}"


@pytest.mark.parametrize(
    ("path", "template", "variables"),
    [
        ("/api/models/a", TEMPLATE, {"name": "a"}),
        ("/api/models/a/", TEMPLATE, {"name": "a"}),
        ("/api/models/a%2Fb", TEMPLATE, {"name": "a/b"}),
        ("/api/models/a+b?x=1", TEMPLATE, {"name": "a+b"}),
        ("/api/operations/o:cancel", "/api/operations/{name}:cancel", {"name": "o"}),
        ("/v1/models/Org/M-1.5", "/v1/models/{id=**}", {"id": "Org/M-1.5"}),
        ("/v1/models/Org%2FM", "/v1/models/{id=**}", {"id": "Org/M"}),
    ],
)
def test_variables_are_decoded_once(path: str, template: str, variables: dict[str, str]) -> None:
    """Escapes are undone, a plus is a plus."""
    assert read_original(path, template).variables == variables


@pytest.mark.parametrize("path", ["/api/other/a", "/api/models/a/b", "/api/models/%ff", "/api/models/a?x=%ff"])
def test_other_paths_are_refused(path: str) -> None:
    """A path of another route, or one that is no UTF-8."""
    with pytest.raises(FieldInvalidError):
        read_original(path, TEMPLATE)


def test_too_many_parameters_are_refused() -> None:
    """They are counted before they are read."""
    with pytest.raises(FieldInvalidError):
        read_original("/api/models/a?" + "&".join(f"x{n}=1" for n in range(1000)), TEMPLATE)


@pytest.mark.parametrize(
    "query",
    [
        "name=b",
        "%6eame=b",
        "n%61me=b",
        "Name=b",
        "NAME=b",
        "name=a&name=b",
        "name=",
        "name",
        "name.x=b",
        "force=true&name=b",
        " name=b",
    ],
)
def test_parameters_of_no_route_are_refused_in_every_spelling(query: str) -> None:
    """A parameter is known by its decoded name, letter by letter."""
    original = read_original(f"/api/models/a?{query}", TEMPLATE)
    with pytest.raises(FieldInvalidError) as caught:
        check_parameters(original.parameters, ("force",))
    (violation,) = caught.value.failure.violations
    assert "ame" in violation.field.lower()


def test_a_parameter_is_said_once() -> None:
    """Of two the transcoder would take the last."""
    assert check_parameters((("force", "true"), ("etag", "")), ("force", "etag")) == {"force": "true", "etag": ""}
    with pytest.raises(FieldInvalidError):
        check_parameters((("force", "true"), ("force", "true")), ("force",))
