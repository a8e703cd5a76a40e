"""Sources that are broken, unsafe or not allowed: each is refused with its reason, and nothing changes."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from echoplane import Client
from echoplane.errors import EchoplaneError
from echoplaned.testing.daemon import DaemonProcess
from tests.e2e import e2e_system as e

Code = grpc.StatusCode


def truncated(folder: Path) -> None:
    """Cut the weights in half."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def enormous_header(folder: Path) -> None:
    """Claim a header of 2^63 bytes."""
    weights = folder / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 2**63) + weights.read_bytes()[8:])


def overlapping(folder: Path) -> None:
    """Let the second tensor begin where the first does."""
    header, body = e.read_header(folder)
    names = [name for name in header if name != "__metadata__"]
    first, second = (header[name]["data_offsets"] for name in names[:2])
    size = second[1] - second[0]
    header[names[1]]["data_offsets"] = [first[0], first[0] + size]
    e.write_header(folder, header, body=body)


def unknown_dtype(folder: Path) -> None:
    """Give a tensor a dtype that does not exist."""
    header, body = e.read_header(folder)
    name = next(name for name in header if name != "__metadata__")
    header[name]["dtype"] = "Q7"
    e.write_header(folder, header, body=body)


def disagreeing_config(folder: Path) -> None:
    """Say another width than the tensors have."""
    config = json.loads((folder / "config.json").read_text())
    config["hidden_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))


def unknown_architecture(folder: Path) -> None:
    """Name a model that nobody knows."""
    config = json.loads((folder / "config.json").read_text())
    config["architectures"], config["model_type"] = ["NobodysModel"], "nobodys"
    (folder / "config.json").write_text(json.dumps(config))


def pickled(folder: Path) -> None:
    """Put a pickle in the place of the safetensors."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_own_classes(folder: Path) -> None:
    """Bring code along, and ask for it."""
    (folder / "modeling.py").write_text("print('hello')\n")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "modeling.Mine"}}))


def linked_out(folder: Path) -> None:
    """Let the weights be a link out of the root."""
    outside = folder.parent.parent / f"outside-{folder.name}.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)


BROKEN: list[tuple[Callable[[Path], None], str, grpc.StatusCode]] = [
    (truncated, "SOURCE_CORRUPT", Code.FAILED_PRECONDITION),
    (enormous_header, "SOURCE_CORRUPT", Code.FAILED_PRECONDITION),
    (overlapping, "SOURCE_CORRUPT", Code.FAILED_PRECONDITION),
    (unknown_dtype, "DTYPE_UNSUPPORTED", Code.FAILED_PRECONDITION),
    (disagreeing_config, "SOURCE_CORRUPT", Code.FAILED_PRECONDITION),
    (unknown_architecture, "ARCHITECTURE_UNSUPPORTED", Code.FAILED_PRECONDITION),
    (pickled, "SOURCE_UNSAFE", Code.INVALID_ARGUMENT),
    (with_own_classes, "SOURCE_UNSUPPORTED", Code.FAILED_PRECONDITION),
    (linked_out, "SOURCE_NOT_ALLOWED", Code.PERMISSION_DENIED),
]


@pytest.mark.parametrize(("spoil", "reason", "code"), BROKEN, ids=[each[0].__name__ for each in BROKEN])
def test_a_spoilt_checkpoint(
    system: e.System, spoil: Callable[[Path], None], reason: str, code: grpc.StatusCode
) -> None:
    """It is refused before anything is loaded, with its reason and what to do."""
    request = system.load_request("spoilt")
    request.source_uri = system.made.broken(spoil.__name__, spoil)
    before = system.listing()
    with e.refused(reason, code):
        system.client.load_model(request)
    assert system.listing() == before


@pytest.mark.parametrize(
    ("uri", "reasons"),
    [
        ("file:nowhere", {"SOURCE_NOT_FOUND", "SOURCE_NOT_ALLOWED"}),
        ("file:../..", {"SOURCE_NOT_ALLOWED"}),
        ("file:///etc", {"SOURCE_NOT_ALLOWED"}),
        ("https://example.org/model", {"SOURCE_NOT_ALLOWED"}),
        ("file:a\nb", {"FIELD_INVALID"}),
    ],
)
def test_a_source_that_is_none(system: e.System, uri: str, reasons: set[str]) -> None:
    """It is refused, and nothing is said of what lies outside."""
    request = system.load_request("none")
    request.source_uri = uri
    with pytest.raises(EchoplaneError) as caught:
        system.client.load_model(request)
    assert caught.value.reason in reasons
    assert str(system.made.root.parent) not in caught.value.failure.message


@pytest.fixture
def without_rights(made: e.Checkpoints, tmp_path: Path) -> Iterator[e.System]:
    """A daemon to which the modes of files apply, though root may have started it."""
    wrapper = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    state_dir = tmp_path / "state"
    daemon = DaemonProcess(state_dir, (made.root,), ("--standby-workers", "0"), wrapper=wrapper)
    try:
        daemon.start()
        with Client(daemon.address, e.ONCE) as client:
            yield e.System(daemon, client, made)
    finally:
        daemon.clean()


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root reads everything; no setpriv")
@pytest.mark.parametrize("closed", ["closed", "closed/model.safetensors", "closed/config.json"])
def test_a_directory_without_rights(without_rights: e.System, closed: str) -> None:
    """What the daemon may not read is refused in the call itself, and the message says which part to open."""
    folder = without_rights.made.path("encoder").parent / "closed"
    shutil.copytree(without_rights.made.path("encoder"), folder)
    target = folder.parent / closed
    target.chmod(0)
    try:
        request = without_rights.load_request("none")
        request.source_uri = "file:closed"
        with e.refused("SOURCE_CORRUPT", Code.FAILED_PRECONDITION) as caught:
            without_rights.client.load_model(request)
    finally:
        target.chmod(0o700)
        shutil.rmtree(folder)
    assert target.name in caught.value.failure.message
    assert str(folder.parent) not in caught.value.failure.message
    assert not list(without_rights.client.list_models())


def test_weights_that_are_no_numbers(system: e.System) -> None:
    """NaN weights are found by the engine: the operation ends with its words, and no engine is left for it."""
    with pytest.raises(EchoplaneError) as caught:
        system.load("poisoned", source="poisoned")
    assert caught.value.reason == "ENGINE_START_FAILED"
    assert "NaN" in caught.value.failure.message
    version = next(iter(system.client.list_versions("poisoned")))
    assert version.failure.message
    system.delete("poisoned")
