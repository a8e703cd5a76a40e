"""Checkpoint directories: what their facts are, and how each kind of damage is answered."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from echoplaned.core.errors import (
    ArchitectureUnsupportedError,
    DaemonError,
    DtypeUnsupportedError,
    LimitExceededError,
    SourceChangedError,
    SourceCorruptError,
    SourceNotAllowedError,
    SourceUnsafeError,
    SourceUnsupportedError,
)
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.signature import signature_for
from echoplaned.planning import inspect_config, inspect_model
from echoplaned.planning.inspection import digest_facts, inspect_checkpoint, survey_model
from echoplaned.ports.stop import Stop
from tests.planning.conftest import Draft, raw_file, safetensors_file

WORDS = "embeddings.word_embeddings.weight"


def test_facts_of_minilm(minilm: Path) -> None:
    """Everything that a caller is told about the packaged model."""
    facts = inspect_model(minilm, allowed_root=minilm.parent)
    assert (facts.architecture, facts.task, facts.stored_dtype) == ("BertModel", Task.EMBEDDING, Dtype.FP32)
    assert (facts.parameter_count, facts.max_context_length, facts.size_class) == (22_713_216, 512, "small")
    assert facts.weights_bytes == 22_713_216 * 4 + 512 * 8
    assert facts.signature == signature_for(Task.EMBEDDING, embedding_width=384)
    assert facts.digest.startswith("blake3:")
    assert len(facts.digest) == len("blake3:") + 64


def test_a_position_table_cut_to_64_is_a_model_of_64_tokens(draft: Draft, tmp_path: Path) -> None:
    """A shorter table with a config that says so is in order, whether or not the old buffer is still there."""
    draft.config["max_position_embeddings"] = 4
    draft.tensors["embeddings.position_embeddings.weight"] = ("F32", (4, 8))
    assert inspect_model(draft.write(tmp_path / "with")).max_context_length == 4
    del draft.tensors["embeddings.position_ids"]
    assert inspect_model(draft.write(tmp_path / "without")).max_context_length == 4


def test_the_files_are_known_as_they_were(draft: Draft, tmp_path: Path) -> None:
    """Every file that an engine will read has its size, its inode and the time of its last change; links are followed beneath the root."""
    source = draft.write(tmp_path / "root" / "model")
    (tmp_path / "root" / "blobs").mkdir()
    (source / "config.json").rename(tmp_path / "root" / "blobs" / "c")
    (source / "config.json").symlink_to("../blobs/c")
    content = inspect_model(source, allowed_root=tmp_path / "root").content
    assert content is not None
    assert content.root == str(tmp_path / "root")
    assert [(file.name, file.path) for file in content.files] == [
        ("config.json", "blobs/c"),
        ("model.safetensors", "model/model.safetensors"),
    ]
    for file in content.files:
        found = (source / file.name).stat()
        assert (file.size_bytes, file.inode, file.change_time_ns) == (found.st_size, found.st_ino, found.st_ctime_ns)


def test_a_file_that_changes_between_headers_and_digest(draft: Draft, tmp_path: Path) -> None:
    """Facts of one content never go with the digest of another."""
    source = draft.write(tmp_path / "model")
    headers = inspect_checkpoint(source, allowed_root=tmp_path, with_digest=False).facts
    assert headers.digest == ""
    assert digest_facts(headers, Stop()) == inspect_model(source, allowed_root=tmp_path)
    (source / "other").write_text(json.dumps(draft.config))
    (source / "other").rename(source / "config.json")
    with pytest.raises(SourceChangedError, match=r"config\.json"):
        digest_facts(headers, Stop())


def test_a_digest_that_nobody_waits_for(draft: Draft, tmp_path: Path) -> None:
    """It ends at once where it was stopped before it began."""
    headers = inspect_checkpoint(draft.write(tmp_path / "model"), with_digest=False).facts
    stop = Stop()
    stop.stop()
    with pytest.raises(LimitExceededError, match="stopped"):
        digest_facts(headers, stop)


def test_pooling_is_configured_where_the_content_is(draft: Draft, tmp_path: Path) -> None:
    """A config beside what a version is made of could change without the version."""
    draft.files["modules.json"] = json.dumps([{"type": "sentence_transformers.models.Pooling", "path": "2_Pooling"}])
    with pytest.raises(ArchitectureUnsupportedError, match="'2_Pooling'"):
        inspect_model(draft.write(tmp_path / "model"))


def test_the_digest_is_of_content(draft: Draft, tmp_path: Path) -> None:
    """Copies are equal; a changed tokenizer is another model; a changed README is not."""
    draft.files["tokenizer.json"] = "{}"
    first = inspect_model(draft.write(tmp_path / "a")).digest
    draft.files["README.md"] = "hello"
    assert inspect_model(draft.write(tmp_path / "b")).digest == first
    draft.files["tokenizer.json"] = "{ }"
    assert inspect_model(draft.write(tmp_path / "c")).digest != first


@pytest.mark.parametrize(
    ("architecture", "task"), [("BertModel", Task.EMBEDDING), ("BertForSequenceClassification", Task.CLASSIFICATION)]
)
def test_the_architecture_decides_the_task(draft: Draft, tmp_path: Path, architecture: str, task: Task) -> None:
    """The signature follows from the task, with the labels that the config names."""
    draft.config["architectures"] = [architecture]
    if task is Task.CLASSIFICATION:
        draft.config["id2label"] = {"0": "no", "1": "yes", "2": "perhaps"}
        draft.tensors |= {"classifier.weight": ("F32", (3, 8)), "classifier.bias": ("F32", (3,))}
    facts = inspect_model(draft.write(tmp_path))
    assert facts.task is task
    assert facts.signature == signature_for(task, embedding_width=8, label_count=3)


def _spoil_config(field: str, value: object) -> Callable[[Draft], None]:
    def spoil(draft: Draft) -> None:
        draft.config[field] = value

    return spoil


def _spoil_tensor(name: str, dtype: str, shape: tuple[int, ...]) -> Callable[[Draft], None]:
    def spoil(draft: Draft) -> None:
        draft.tensors[name] = (dtype, shape)

    return spoil


def _spoil_file(name: str, text: str) -> Callable[[Draft], None]:
    def spoil(draft: Draft) -> None:
        draft.files[name] = text

    return spoil


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (_spoil_config("vocab_size", 21), SourceCorruptError, "vocab_size: config.json gives 21 and tensor .* has 20"),
        (_spoil_config("max_position_embeddings", 8), SourceCorruptError, "max_position_embeddings"),
        (_spoil_config("num_hidden_layers", 2), SourceCorruptError, "num_hidden_layers: config.json gives 2 .* has 1"),
        (_spoil_config("hidden_size", "8"), SourceCorruptError, "hidden_size"),
        (_spoil_config("hidden_size", None), SourceCorruptError, "lacks hidden_size"),
        (_spoil_config("architectures", ["TableModel"]), ArchitectureUnsupportedError, "TableModel"),
        (_spoil_config("is_decoder", value=True), ArchitectureUnsupportedError, "is_decoder"),
        (_spoil_config("auto_map", {"AutoModel": "modeling.Mine"}), SourceUnsupportedError, "config.json: auto_map"),
        (_spoil_config("quantization_config", {"quant_method": "awq"}), SourceUnsupportedError, "awq"),
        (_spoil_tensor(WORDS, "F33", (20, 8)), DtypeUnsupportedError, "F33"),
        (_spoil_tensor(WORDS, "F8_E4M3", (20, 8)), DtypeUnsupportedError, "F8_E4M3"),
        (_spoil_tensor("encoder.layer.0.lora.weight", "F32", (2,)), ArchitectureUnsupportedError, "lora"),
        (_spoil_file("adapter_config.json", "{}"), SourceUnsupportedError, "adapter_config.json: peft_type"),
        (_spoil_file("hf_quant_config.json", '{"quantization": {"quant_algo": "FP8"}}'), SourceUnsupportedError, "FP8"),
        (_spoil_file("modules.json", '[{"type": "x.Dense"}]'), ArchitectureUnsupportedError, "Dense"),
        (_spoil_file("modules.json", '{"a": 1}'), SourceCorruptError, "modules"),
        (_spoil_file("modules.json", "[" * 100_000), SourceCorruptError, "modules"),
        (_spoil_file("config.json", "[" * 100_000), SourceCorruptError, "config.json"),
    ],
)
def test_what_is_wrong_is_named(
    draft: Draft, tmp_path: Path, spoil: Callable[[Draft], None], error: type[DaemonError], words: str
) -> None:
    """Each kind of damage has its reason, and the message names what is wrong."""
    spoil(draft)
    with pytest.raises(error, match=words):
        inspect_model(draft.write(tmp_path))


def _cut(whole: bytes) -> bytes:
    return whole[:-3]


def _claim_everything(whole: bytes) -> bytes:
    return struct.pack("<Q", 2**63) + whole[8:]


def _overlap(_: bytes) -> bytes:
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    }
    return raw_file(json.dumps(header).encode(), 12)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "cut short"),
        (_claim_everything, "claims 9223372036854775808 bytes"),
        (_overlap, "overlap"),
        (lambda _: b"", "header claims"),
        (lambda _: b"PK\x03\x04 not at all", "header"),
        (lambda _: raw_file(b"[" * 100_000, 0), "not valid"),
    ],
)
def test_damaged_weights(draft: Draft, tmp_path: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    """No file of weights is believed before it was checked."""
    directory = draft.write(tmp_path)
    (directory / "model.safetensors").write_bytes(damage(safetensors_file(draft.tensors)))
    with pytest.raises(SourceCorruptError, match=rf"^model\.safetensors: .*{words}"):
        inspect_model(directory)


def test_a_damaged_file_is_named_as_the_checkpoint_names_it(draft: Draft, tmp_path: Path) -> None:
    """Where a name is a link to a file elsewhere, the message has the name, and no path of the machine."""
    directory = draft.write(tmp_path / "model")
    blob = tmp_path / "0a1b2c"
    (directory / "model.safetensors").rename(blob)
    blob.write_bytes(blob.read_bytes()[:-3])
    (directory / "model.safetensors").symlink_to(blob)
    with pytest.raises(SourceCorruptError, match=r"^model\.safetensors: tensor \S+ ends at") as caught:
        inspect_model(directory)
    assert "0a1b2c" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_pickles_are_not_read(draft: Draft, tmp_path: Path) -> None:
    """A pickle beside safetensors is left alone; in their place it is refused."""
    draft.files["pytorch_model.bin"] = "cos\nsystem"
    directory = draft.write(tmp_path)
    assert inspect_model(directory).architecture == "BertModel"
    (directory / "model.safetensors").unlink()
    with pytest.raises(SourceUnsafeError, match=r"pytorch_model\.bin"):
        inspect_model(directory)


def test_missing_and_unreadable(draft: Draft, tmp_path: Path) -> None:
    """What is not there, or is no file, is corrupt; the message does not tell the directory's path."""
    directory = draft.write(tmp_path / "model")
    (directory / "model.safetensors").unlink()
    with pytest.raises(SourceCorruptError, match=r"model\.safetensors does not exist") as caught:
        inspect_model(directory)
    assert str(tmp_path) not in str(caught.value)
    os.mkfifo(directory / "model.safetensors")
    with pytest.raises(SourceCorruptError, match="not a regular file"):
        inspect_model(directory)
    for path in (tmp_path / "nowhere", directory / "config.json"):
        with pytest.raises(SourceCorruptError):
            inspect_model(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_directory_without_rights(draft: Draft, tmp_path: Path) -> None:
    """A directory that may not be read is corrupt, and the message says so."""
    directory = draft.write(tmp_path / "model")
    directory.chmod(0)
    try:
        for read in (inspect_model, survey_model):
            with pytest.raises(SourceCorruptError, match="permission denied"):
                read(directory)
    finally:
        directory.chmod(0o700)


@pytest.mark.parametrize("read", [inspect_model, survey_model])
def test_a_path_that_the_file_system_refuses(read: Callable[[Path], object], tmp_path: Path) -> None:
    """What the file system says of a path is told as a source that cannot be read, for every user."""
    with pytest.raises(SourceCorruptError, match="cannot be read: file name too long"):
        read(tmp_path / ("x" * 300))


def test_links_out_of_the_root(draft: Draft, tmp_path: Path) -> None:
    """Weights that lie outside the allowed root are refused, however they are reached."""
    elsewhere = draft.write(tmp_path / "elsewhere")
    inside = tmp_path / "root" / "model"
    inside.mkdir(parents=True)
    shutil.copy(elsewhere / "config.json", inside)
    (inside / "model.safetensors").symlink_to(elsewhere / "model.safetensors")
    assert inspect_model(inside).architecture == "BertModel"
    with pytest.raises(SourceNotAllowedError, match=r"model\.safetensors"):
        inspect_model(inside, allowed_root=tmp_path / "root")


def test_a_config_alone(draft: Draft, tmp_path: Path) -> None:
    """A config gives the same count as the files; one that is missing or absurdly large is corrupt."""
    directory = draft.write(tmp_path / "model")
    alone = inspect_config(directory / "config.json")
    assert alone.facts.parameter_count == inspect_model(directory).parameter_count
    assert (alone.facts.digest, alone.files) == ("", ())
    with pytest.raises(SourceCorruptError, match="does not exist"):
        inspect_config(tmp_path / "config.json")
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (16 * 1024 * 1024 + 1))
    with pytest.raises(SourceCorruptError, match="more than"):
        inspect_config(large)
