//! What engines hold of a checkpoint's tensors: tied heads once, heads that differ twice, nothing that predicts further tokens.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use sizing::{Checkpoint, Engine, Request, SizingError, Task, inspect, size_for, survey};

const HIDDEN: u64 = 32;
const VOCABULARY: u64 = 64;
const LAYER: u64 = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * 48 + 2 * HIDDEN + 2 * 8;
const BODY: u64 = VOCABULARY * HIDDEN + HIDDEN + 2 * LAYER;
const HEAD: u64 = VOCABULARY * HIDDEN;

fn config() -> Value {
    json!({"architectures": ["Qwen3ForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8, "vocab_size": VOCABULARY,
        "max_position_embeddings": 32, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "hidden_act": "silu"})
}

fn layer(stem: &str, into: &mut Vec<(String, Vec<u64>)>) {
    for (name, shape) in [
        ("input_layernorm", vec![HIDDEN]),
        ("post_attention_layernorm", vec![HIDDEN]),
        ("self_attn.q_norm", vec![8]),
        ("self_attn.k_norm", vec![8]),
        ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
        ("self_attn.k_proj", vec![HIDDEN, HIDDEN]),
        ("self_attn.v_proj", vec![HIDDEN, HIDDEN]),
        ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
        ("mlp.gate_proj", vec![48, HIDDEN]),
        ("mlp.up_proj", vec![48, HIDDEN]),
        ("mlp.down_proj", vec![HIDDEN, 48]),
    ] {
        into.push((format!("{stem}.{name}.weight"), shape));
    }
}

fn body(prefix: &str) -> Vec<(String, Vec<u64>)> {
    let mut tensors = vec![
        (format!("{prefix}embed_tokens.weight"), vec![VOCABULARY, HIDDEN]),
        (format!("{prefix}norm.weight"), vec![HIDDEN]),
    ];
    for at in 0..2 {
        layer(&format!("{prefix}layers.{at}"), &mut tensors);
    }
    tensors
}

/// Write tensors whose bytes are all the number that `byte_of` gives.
fn write(directory: &Path, config: &Value, tensors: &[(String, Vec<u64>)], byte_of: impl Fn(&str) -> u8) {
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        let bytes = usize::try_from(shape.iter().product::<u64>() * 2).unwrap();
        data.resize(begin + bytes, byte_of(name));
        header.insert(name.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let text = Value::Object(header).to_string();
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(&data);
    fs::write(directory.join("model.safetensors"), file).unwrap();
}

fn weights(checkpoint: &Checkpoint, engine: Engine) -> u64 {
    let request = Request { engine, ..Request::torch(checkpoint.stored_dtype, 16, 1) };
    let sized = size_for(checkpoint, &request).unwrap();
    sized.components.iter().find(|part| part.name == "weights").unwrap().bytes
}

#[test]
fn a_copy_of_a_tied_head_is_left_out_and_another_one_is_not() {
    let mut tensors = body("model.");
    tensors.push(("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]));
    for (different, parameters) in [(0, BODY), (1, BODY + HEAD)] {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &config(), &tensors, |name| if name == "lm_head.weight" { different } else { 0 });
        for found in [survey(directory.path(), None).unwrap(), inspect(directory.path(), None).unwrap()] {
            assert_eq!((found.parameter_count, weights(&found, Engine::Torch)), (parameters, 2 * parameters));
            // vLLM ties what the config ties, whatever the files hold.
            assert_eq!(weights(&found, Engine::Vllm), 2 * BODY);
            let text = if different == 0 { "lm_head.weight is a copy" } else { "transformers keeps both" };
            assert_eq!(
                found.warnings.iter().filter(|warning| warning.contains(text)).count(),
                1,
                "{:?}",
                found.warnings
            );
            assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
        }
    }
}

#[test]
fn heads_for_further_tokens_are_stated_apart() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config["architectures"] = json!(["Ernie4_5ForCausalLM"]);
    for stem in ["model.layers.2", "mtp.layers.0"] {
        let mut tensors: Vec<_> = body("model.").into_iter().filter(|(name, _)| !name.contains("_norm.")).collect();
        let before = tensors.len();
        layer(stem, &mut tensors);
        tensors.push((format!("{stem}.embed_tokens.weight"), vec![VOCABULARY, HIDDEN]));
        let apart: u64 = tensors[before..].iter().map(|(_, shape)| shape.iter().product::<u64>()).sum();
        write(directory.path(), &config, &tensors, |_| 0);
        let found = survey(directory.path(), None).unwrap();
        let held = BODY - 2 * 2 * 8;
        assert_eq!((found.parameter_count, found.model.mtp_parameters), (held, apart), "{stem}");
        assert_eq!((weights(&found, Engine::Torch), weights(&found, Engine::Vllm)), (2 * held, 2 * held), "{stem}");
        assert!(found.warnings[0].contains(&apart.to_string()), "{:?}", found.warnings);
    }
}

#[test]
fn a_decoder_beside_modules_is_an_embedding() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &config(), &body(""), |_| 0);
    assert_eq!(inspect(directory.path(), None).unwrap().task, Task::Generation);
    fs::write(directory.path().join("modules.json"), "[]").unwrap();
    for found in [survey(directory.path(), None).unwrap(), inspect(directory.path(), None).unwrap()] {
        assert_eq!((found.task, found.parameter_count), (Task::Embedding, BODY));
        let sized = size_for(&found, &Request::torch(found.stored_dtype, 16, 2)).unwrap();
        assert!(sized.kv_bytes_per_token == 0 && sized.components.iter().all(|part| part.name != "kv_cache"));
    }
}

#[test]
fn what_a_load_would_fail_with_is_found_in_the_config() {
    let directory = tempfile::tempdir().unwrap();
    for (field, value, said) in [
        ("tie_word_embeddings", Value::Null, "true or false"),
        ("use_cache", json!("yes"), "true or false"),
        ("rms_norm_eps", Value::Null, "a number"),
        ("hidden_act", json!("fancy"), "not known"),
        ("rope_scaling", json!({"rope_type": "sideways", "factor": 2.0}), "sideways"),
        ("rope_parameters", json!({"full_attention": {"rope_type": "upwards"}}), "upwards"),
    ] {
        let mut config = config();
        config[field] = value;
        write(directory.path(), &config, &body("model."), |_| 0);
        assert!(survey(directory.path(), None).is_ok(), "{field}");
        match inspect(directory.path(), None) {
            Err(SizingError::SourceUnsupported { field: named, detail, .. }) => {
                assert!(named == field && detail.contains(said), "{field}: {detail}");
            }
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn pointers_and_odd_headers_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &config(), &body("model."), |_| 0);
    let file = directory.path().join("model.safetensors");
    let whole = fs::read(&file).unwrap();
    let length = usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    let text = String::from_utf8(whole[8..8 + length].to_vec()).unwrap().replacen('{', r#"{"__metadata__":null,"#, 1);
    let mut odd = (text.len() as u64).to_le_bytes().to_vec();
    odd.extend_from_slice(text.as_bytes());
    odd.extend_from_slice(&whole[8 + length..]);
    fs::write(&file, odd).unwrap();
    assert_eq!(inspect(directory.path(), None).unwrap().parameter_count, BODY);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    for name in ["model.safetensors", "config.json"] {
        write(directory.path(), &config(), &body("model."), |_| 0);
        fs::write(directory.path().join(name), pointer).unwrap();
        match survey(directory.path(), None) {
            Err(SizingError::SourceIncomplete { file, detail }) => assert!(file == name && detail.contains("Git LFS")),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_config_of_megabytes_is_read_and_one_of_too_many_values_is_not() {
    let mut config = config();
    let names: Vec<String> = (0..100_000).map(|at| format!("model.layers.{at}.mlp.experts.gate_proj")).collect();
    config["ignore_list"] = json!(names);
    let text = config.to_string();
    assert!(text.len() > 4 << 20);
    assert_eq!(sizing::survey_config(text.as_bytes()).unwrap().parameter_count, BODY);
    config["ignore_list"] = json!(vec![0; 500_000]);
    assert!(matches!(sizing::survey_config(config.to_string().as_bytes()), Err(SizingError::ConfigInvalid { .. })));
}
