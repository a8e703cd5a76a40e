//! Architectures outside the catalogue: what their layers keep, by the fields that name them.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;

use serde_json::{Value, json};
use sizing::{Checkpoint, Engine, Request, WeightDtype, size_for, survey};

fn read(architecture: &str, more: &Value) -> Checkpoint {
    let mut text = json!({"hidden_size": 64, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 2,
        "head_dim": 16, "vocab_size": 32, "max_position_embeddings": 4096, "dtype": "bfloat16"});
    text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({"architectures": [architecture], "text_config": text});
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let header = r#"{"model.embed_tokens.weight":{"dtype":"BF16","shape":[32,64],"data_offsets":[0,4096]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + 4096, 0);
    fs::write(directory.path().join("model.safetensors"), file).unwrap();
    survey(directory.path(), None).unwrap()
}

/// Bytes of one more token and of a sequence's states, in vLLM.
fn kept(checkpoint: &Checkpoint) -> (u64, u64) {
    let request = Request { engine: Engine::Torch, ..Request::torch(WeightDtype::Bf16, 256, 1) };
    let sized = size_for(checkpoint, &request).unwrap();
    let states = sized.components.iter().filter(|part| part.name == "state_cache").map(|part| part.bytes).sum();
    (sized.kv_bytes_per_token, states)
}

#[test]
fn layers_are_counted_as_the_config_names_them() {
    let token = 2 * 2 * 16 * 2;
    let delta = json!({"linear_num_value_heads": 4, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
        "linear_key_head_dim": 8, "linear_conv_kernel_dim": 4});
    // Channels 2*2*8 + 4*8 of 4 inputs in 16 bit, a matrix of 4*8*8 in fp32.
    let delta_bytes = 64 * 4 * 2 + 256 * 4;
    let mamba =
        json!({"mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 2, "conv_kernel": 4});
    let mamba_bytes = (64 + 2 * 2 * 8) * 4 * 2 + 64 * 8 * 4;
    let with = |base: &Value, more: Value| {
        let mut all = base.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let names =
        |list: [&str; 2]| -> Vec<String> { list.iter().cycle().take(8).map(|name| (*name).to_owned()).collect() };
    for (more, expected) in [
        (json!({}), (8 * token, 0)),
        (
            with(&delta, json!({"layer_types": names(["linear_attention", "full_attention"])})),
            (4 * token, 4 * delta_bytes),
        ),
        (with(&delta, json!({"full_attention_interval": 4})), (2 * token, 6 * delta_bytes)),
        (with(&mamba, json!({"hybrid_override_pattern": "M-M*M-ME"})), (token, 4 * mamba_bytes)),
        (with(&mamba, json!({"layers_block_type": names(["mamba", "hybrid"])})), (4 * token, 8 * mamba_bytes)),
        // No field tells layers apart: each has both (Falcon-H1), or a state alone where nothing attends.
        (mamba.clone(), (8 * token, 8 * mamba_bytes)),
        (with(&mamba, json!({"num_attention_heads": null, "num_key_value_heads": null})), (0, 8 * mamba_bytes)),
        (
            json!({"state_size": 8, "num_attention_heads": null, "num_key_value_heads": null}),
            (0, 8 * (128 * 4 * 2 + 128 * 8 * 4)),
        ),
        // The list alone says how many there are (Nemotron-H of transformers 5).
        (
            with(
                &mamba,
                json!({"num_hidden_layers": null, "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"]}),
            ),
            (token, mamba_bytes),
        ),
        (
            with(&mamba, json!({"num_hidden_layers": null, "hybrid_override_pattern": "M-*E|M"})),
            (token, 2 * mamba_bytes),
        ),
        (json!({"attn_type_list": [0, 0, 0, 1, 0, 0, 0, 1]}), (2 * token, 6 * 8 * 16 * 16 * 4)),
        (
            json!({"linear_attn_config": {"full_attn_layers": [4, 8], "num_heads": 2, "head_dim": 8, "short_conv_kernel_size": 4}}),
            (2 * token, 6 * (3 * 16 * 4 * 2 + 2 * 64 * 4)),
        ),
        (json!({"attn_config": {"kv_n_heads": 1}, "num_key_value_heads": null}), (4 * token, 0)),
        (json!({"kv_lora_rank": 32, "qk_rope_head_dim": 8}), (8 * 40 * 2, 0)),
        (json!({"kv_lora_rank": 32, "qk_rope_head_dim": 8, "index_head_dim": 128}), (8 * (40 * 2 + 132), 0)),
    ] {
        assert_eq!(kept(&read("StrangeForConditionalGeneration", &more)), expected, "{more}");
    }
}

#[test]
fn windows_are_read_and_what_generates_nothing_keeps_nothing() {
    let more = json!({"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention", "sliding_attention",
        "full_attention", "sliding_attention", "full_attention", "sliding_attention", "full_attention"]});
    let found = read("StrangeForCausalLM", &more);
    let request = Request {
        engine: Engine::LlamaCpp,
        max_batched_tokens: Some(192),
        ..Request::torch(WeightDtype::Bf16, 1_024, 1)
    };
    let sized = size_for(&found, &request).unwrap();
    let cache = sized.components.iter().find(|part| part.name == "kv_cache").unwrap().bytes;
    assert_eq!(cache, 128 * (4 * 1_024 + 4 * 256));
    for name in ["StrangeForImageClassification", "StrangeModel", "StrangeForTokenClassification"] {
        assert_eq!(kept(&read(name, &json!({}))), (0, 0), "{name}");
    }
}
