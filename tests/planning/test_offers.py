"""What a plan says is served, a load serves, and the other way round."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from echoplaned.core.errors import DaemonError, SourceNotFoundError
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import architectures, devices_of, inspect_checkpoint, plan_offline, survey_model
from tests.planning.conftest import Draft

PACKED = {"quant_method": "fp8", "weight_block_size": [128, 128]}
SPOILT: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "sound": ({}, {}, ""),
    "code": ({}, {"train.py": "raise SystemExit"}, ""),
    "auto_map": ({"auto_map": {"AutoModel": "a.B"}}, {}, "SOURCE_UNSUPPORTED"),
    "packed": ({"quantization_config": PACKED}, {}, "SOURCE_UNSUPPORTED"),
    "activation": ({"hidden_act": "fancy"}, {}, "SOURCE_UNSUPPORTED"),
    "null flag": ({"tie_word_embeddings": None}, {}, "SOURCE_UNSUPPORTED"),
    "adapter": ({}, {"adapter_config.json": "{}"}, "SOURCE_UNSUPPORTED"),
    "architecture": ({"architectures": ["ElectraModel"]}, {}, "ARCHITECTURE_UNSUPPORTED"),
    "module": ({}, {"modules.json": '[{"type": "x.Dense"}]'}, "ARCHITECTURE_UNSUPPORTED"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_plan_says_what_a_load_would_say(tmp_path: Path, draft: Draft, name: str) -> None:
    """Every sound file has a size; whether it is served is the load's own answer, with its reason and its words."""
    config, files, reason = SPOILT[name]
    draft.config |= config
    draft.files |= files
    directory = draft.write(tmp_path / "model")
    plan = plan_offline(directory)
    assert plan.bytes > 0
    assert (plan.serves, plan.serves_reason) == (not reason, reason)
    if not reason:
        assert inspect_checkpoint(directory).facts.parameter_count == plan.parameter_count
        return
    with pytest.raises(DaemonError) as caught:
        inspect_checkpoint(directory)
    assert caught.value.failure.reason.value == reason
    assert plan.serves_detail.startswith(caught.value.failure.message)


def test_the_engine_that_serves_it_is_named(tmp_path: Path, write_config: Any) -> None:
    """A config of packed weights has a size on every engine, and the one that reads it is named."""
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    words = {"vocab_size": 256, "max_position_embeddings": 64, "torch_dtype": "bfloat16"}
    packed = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    path = write_config(architectures=["LlamaForCausalLM"], quantization_config=packed, **shape, **words)
    here = plan_offline(path)
    assert not here.serves
    assert "`--engine vllm` serves it" in here.serves_detail
    assert "INT8" not in " ".join((*here.warnings, here.serves_detail))
    there = plan_offline(path, ShapeRequest(engine="vllm"))
    assert there.serves
    sizes = {part.bytes for plan in (here, there) for part in plan.components if part.name == "weights"}
    assert len(sizes) == 1
    gguf = plan_offline(path, ShapeRequest(engine="llama.cpp"))
    assert (gguf.serves, gguf.serves_reason) == (False, "SOURCE_UNSUPPORTED")


def test_what_is_refused_has_no_alternatives(write_config: Any) -> None:
    """No shape of what the engine does not load fits; what it loads is offered in dtypes that it makes, and in no others."""
    shape = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 14336}
    words = {"vocab_size": 32000, "max_position_embeddings": 4096, "torch_dtype": "bfloat16"}
    small = devices_of("16GiB")
    packed = write_config(architectures=["LlamaForCausalLM"], quantization_config=PACKED, **shape, **words)
    refused = plan_offline(packed, ShapeRequest(max_concurrency=64), small)
    assert (refused.fits, refused.serves, refused.alternatives) == (False, False, ())
    path = write_config(architectures=["LlamaForCausalLM"], **shape, **words)
    plan = plan_offline(path, ShapeRequest(engine="vllm", max_concurrency=1, context_length=512), small)
    warnings = " ".join(one.warning for one in plan.alternatives)
    assert not plan.fits
    # vLLM makes FP8 of 16 bit while it loads, and no INT8.
    assert "FP8 weights instead of BF16" in warnings
    assert "INT8" not in warnings


def test_code_that_others_do_not_need(write_config: Any) -> None:
    """The embedded engine refuses `auto_map`; where the catalogue knows the class, the engine that has one of its own is named."""
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    words = {
        "vocab_size": 256,
        "max_position_embeddings": 64,
        "torch_dtype": "bfloat16",
        "auto_map": {"AutoModel": "a.B"},
    }
    path = write_config(architectures=["LlamaForCausalLM"], **shape, **words)
    here = plan_offline(path)
    assert (here.serves, here.serves_reason) == (False, "SOURCE_UNSUPPORTED")
    assert "auto_map" in here.serves_detail
    assert "`--engine vllm` serves it" in here.serves_detail
    assert plan_offline(path, ShapeRequest(engine="vllm")).serves


def test_the_nearest_names_are_told(write_config: Any) -> None:
    """A class that is not in the catalogue is told the few that are most alike, and how many there are."""
    with pytest.raises(DaemonError, match=r"Qwen3ForCausalLM.*") as caught:
        plan_offline(write_config(architectures=["Qwen4ForCausalLM"]))
    assert f"of {len(architectures())} known ones" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_formulas_say_what_there_is(write_config: Any) -> None:
    """A step's sum has no term of nothing, and what is taken away is taken away."""
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    words = {"intermediate_size": 256, "vocab_size": 512, "max_position_embeddings": 512, "torch_dtype": "bfloat16"}
    for architecture in ("LlamaForCausalLM", "Qwen3ForCausalLM"):
        plan = plan_offline(write_config(architectures=[architecture], **shape, **words))
        (formula,) = [part.formula for part in plan.components if part.name == "activations"]
        terms = re.split(r" [+-] ", formula)
        assert "0" not in terms, formula
        assert "-1*" not in formula, formula


def test_a_config_alone_is_read_for_what_a_load_would_refuse(write_config: Any) -> None:
    """There are no weights to look at, but the config tells what it can."""
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    words = {"vocab_size": 256, "max_position_embeddings": 64, "torch_dtype": "bfloat16"}
    assert plan_offline(write_config(architectures=["LlamaForCausalLM"], **shape, **words)).serves
    spoilt = write_config(architectures=["LlamaForCausalLM"], hidden_act="fancy", **shape, **words)
    assert "hidden_act" in plan_offline(spoilt).serves_detail


def test_nothing_at_a_path_is_said_in_full(tmp_path: Path) -> None:
    """The message has the whole path."""
    with pytest.raises(SourceNotFoundError, match=str(tmp_path / "gone")):
        survey_model(tmp_path / "gone")


def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path, draft: Draft) -> None:
    """The weights were not fetched; nothing is wrong with them."""
    directory = draft.write(tmp_path / "model")
    (directory / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DaemonError, match="Git LFS pointer") as caught:
        survey_model(directory)
    assert caught.value.failure.reason.value == "SOURCE_INCOMPLETE"


def test_activations_and_positions_are_those_of_transformers() -> None:
    """The names that the planner knows are the ones that transformers looks up."""
    source = Path(__file__).parents[2] / "allocator_rs" / "sizing" / "src" / "strict.rs"
    text = source.read_text(encoding="utf-8")

    def names(constant: str) -> set[str]:
        begin = text.index("[", text.index("= ", text.index(f"pub const {constant}:")))
        return set(json.loads(re.sub(r",\s*\]", "]", text[begin : text.index("]", begin) + 1])))

    def keys(file: str, table: str) -> set[str]:
        # Read and not imported: that takes seconds.
        tree = ast.parse((Path(spec.origin or "").parent / file).read_text(encoding="utf-8"))
        for node in tree.body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == table and isinstance(node.value, ast.Dict):
                return {str(ast.literal_eval(key)) for key in node.value.keys if key is not None}
        raise AssertionError(f"{file} has no {table}")

    spec = importlib.util.find_spec("transformers")
    if spec is None:
        pytest.skip("transformers is not installed")
    assert names("ACTIVATIONS") == keys("activations.py", "ACT2CLS")
    assert names("ROPE_TYPES") == {"default", *keys("modeling_rope_utils.py", "ROPE_INIT_FUNCTIONS")}
