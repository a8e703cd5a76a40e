"""The compose file: what the specification says of it, and what we do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "deploy/compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+):([-?])([^}]*)\}")


def read_compose() -> str:
    """Return the file with its variables put in, as compose does before it reads it."""
    text = COMPOSE.read_text(encoding="utf-8")
    return _VARIABLE.sub(lambda found: "/srv/models" if found[2] == "?" else found[3], text)


@pytest.fixture
def service() -> dict[str, Any]:
    """The daemon's service."""
    services: dict[str, Any] = yaml.safe_load(read_compose())["services"]
    (only,) = services.values()
    return dict(only)


def test_it_is_a_compose_file() -> None:
    """By the specification's own rules, which know every key; a wrong one is refused."""
    compose_spec.PyCompose.from_yaml(read_compose()).validate()
    with pytest.raises(ValueError, match="read_onli"):
        compose_spec.PyCompose.from_yaml(
            read_compose().replace("    read_only: true\n    cap", "    read_onli: true\n    cap")
        )


def test_nobody_outside_reaches_it_and_it_may_do_little(service: dict[str, Any]) -> None:
    """The host's loopback, no published port, no capability, a root that cannot be written, models that cannot either."""
    assert service["network_mode"] == "host"
    assert "ports" not in service
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert service["init"] is True
    models = next(volume for volume in service["volumes"] if isinstance(volume, dict))
    assert (models["target"], models["read_only"], models["source"]) == ("/models", True, "/srv/models")
    assert "state:/var/lib/echoplane" in service["volumes"]


def test_it_builds_the_dockerfile_of_this_folder(service: dict[str, Any]) -> None:
    """From the repository's root, with arguments that the Dockerfile has."""
    build = service["build"]
    root = (COMPOSE.parent / build["context"]).resolve()
    dockerfile = (root / build["dockerfile"]).read_text(encoding="utf-8")
    assert all(f"\nARG {name}=" in dockerfile for name in build["args"])
    assert (root / f"{build['dockerfile']}.dockerignore").is_file()
