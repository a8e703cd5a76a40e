//! Directories: config and tensors checked against each other, and what is refused before it is opened.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sizing::{SizingError, WeightDtype, inspect};
use tempfile::TempDir;

type Shapes = BTreeMap<String, (&'static str, Vec<u64>)>;

fn config() -> Value {
    json!({
        "architectures": ["BertForSequenceClassification"], "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 20, "max_position_embeddings": 16,
        "id2label": {"0": "a", "1": "b", "2": "c"},
    })
}

fn shapes() -> Shapes {
    let mut shapes = Shapes::new();
    let mut add = |name: &str, shape: &[u64]| shapes.insert(name.to_owned(), ("F32", shape.to_vec()));
    add("bert.embeddings.position_ids", &[1, 16]);
    add("bert.embeddings.word_embeddings.weight", &[20, 8]);
    add("bert.embeddings.position_embeddings.weight", &[16, 8]);
    add("bert.embeddings.token_type_embeddings.weight", &[2, 8]);
    add("bert.embeddings.LayerNorm.gamma", &[8]);
    add("bert.embeddings.LayerNorm.beta", &[8]);
    for layer in 0..2 {
        let mut pair = |name: &str, output: u64, input: Option<u64>| {
            let weight: Vec<_> = std::iter::once(output).chain(input).collect();
            add(&format!("bert.encoder.layer.{layer}.{name}.weight"), &weight);
            add(&format!("bert.encoder.layer.{layer}.{name}.bias"), &[output]);
        };
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            pair(name, 8, Some(8));
        }
        pair("attention.output.LayerNorm", 8, None);
        pair("intermediate.dense", 12, Some(8));
        pair("output.dense", 8, Some(12));
        pair("output.LayerNorm", 8, None);
    }
    add("bert.pooler.dense.weight", &[8, 8]);
    add("bert.pooler.dense.bias", &[8]);
    add("classifier.weight", &[3, 8]);
    add("classifier.bias", &[3]);
    shapes
}

fn write_tensors(path: &Path, shapes: &Shapes) {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, (dtype, shape)) in shapes {
        let bytes = shape.iter().product::<u64>() * if *dtype == "F32" { 4 } else { 2 };
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [end, end + bytes]}));
        end += bytes;
    }
    let text = Value::Object(header).to_string();
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(bytes.len() + usize::try_from(end).unwrap(), 0);
    fs::write(path, bytes).unwrap();
}

fn checkpoint(config: &Value, shapes: &Shapes) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    write_tensors(&directory.path().join("model.safetensors"), shapes);
    directory
}

fn outcome(config: &Value, shapes: &Shapes) -> Result<sizing::Checkpoint, SizingError> {
    inspect(checkpoint(config, shapes).path(), None)
}

#[test]
fn counts_parameters_and_not_buffers() {
    let found = outcome(&config(), &shapes()).unwrap();
    let buffers = 16;
    let all: u64 = shapes().values().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    assert_eq!(found.parameter_count, all - buffers);
    assert_eq!(found.parameter_count, found.tally.parameters);
    assert_eq!((found.model.shape.labels, found.stored_dtype, found.warnings.len()), (3, WeightDtype::Fp32, 0));
    assert_eq!(found.files, ["config.json", "model.safetensors"]);
}

#[test]
fn a_disagreement_names_field_and_both_numbers() {
    for (tensor, shape, field, config_value, found_value) in [
        ("bert.embeddings.word_embeddings.weight", vec![21, 8], "vocab_size", 20, 21),
        ("bert.embeddings.position_embeddings.weight", vec![8, 8], "max_position_embeddings", 16, 8),
        ("bert.encoder.layer.1.attention.self.key.weight", vec![8, 9], "hidden_size", 8, 9),
        ("bert.encoder.layer.0.intermediate.dense.weight", vec![13, 8], "intermediate_size", 12, 13),
        ("classifier.weight", vec![4, 8], "id2label", 3, 4),
    ] {
        let mut shapes = shapes();
        shapes.get_mut(tensor).unwrap().1 = shape;
        let wanted =
            SizingError::ConfigMismatch { field, config: config_value, found: found_value, tensor: tensor.to_owned() };
        assert_eq!(outcome(&config(), &shapes).unwrap_err(), wanted);
    }
}

#[test]
fn layers_are_counted() {
    for layers in [1, 3] {
        let mut config = config();
        config["num_hidden_layers"] = json!(layers);
        let found = outcome(&config, &shapes()).unwrap_err();
        assert!(
            matches!(found, SizingError::ConfigMismatch { field: "num_hidden_layers", found: 2, config, .. } if config == layers),
            "{found}"
        );
    }
    let mut config = config();
    config["num_hidden_layers"] = json!(1_u64 << 31);
    assert!(matches!(outcome(&config, &shapes()), Err(SizingError::ConfigMismatch { .. })));
}

#[test]
fn missing_and_foreign_tensors() {
    let mut fewer = shapes();
    fewer.remove("bert.encoder.layer.0.output.dense.bias");
    assert!(matches!(outcome(&config(), &fewer), Err(SizingError::TensorMissing { .. })));
    let mut more = shapes();
    more.insert("bert.encoder.layer.0.adapter.weight".to_owned(), ("F32", vec![4]));
    assert!(matches!(outcome(&config(), &more), Err(SizingError::TensorUnexpected { .. })));
    let mut head = shapes();
    head.insert("cls.predictions.bias".to_owned(), ("F32", vec![20]));
    let found = outcome(&config(), &head).unwrap();
    assert_eq!((found.parameter_count, found.warnings.len()), (found.tally.parameters, 1));
}

#[test]
fn stored_dtypes() {
    let mut half = shapes();
    for (dtype, _) in half.values_mut() {
        *dtype = "BF16";
    }
    assert_eq!(outcome(&config(), &half).unwrap().stored_dtype, WeightDtype::Bf16);
    half.get_mut("classifier.bias").unwrap().0 = "F32";
    let mixed = outcome(&config(), &half).unwrap();
    assert_eq!((mixed.stored_dtype, mixed.warnings.len()), (WeightDtype::Bf16, 1));
    half.get_mut("classifier.bias").unwrap().0 = "I16";
    assert!(matches!(outcome(&config(), &half), Err(SizingError::DtypeUnsupported { .. })));
}

#[test]
fn pickles_are_refused_and_code_is_left_alone() {
    let directory = checkpoint(&config(), &shapes());
    fs::write(directory.path().join("pytorch_model.bin"), "").unwrap();
    assert!(inspect(directory.path(), None).is_ok());
    fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    assert!(matches!(inspect(directory.path(), None), Err(SizingError::SourceUnsafe { .. })));
    let directory = checkpoint(&config(), &shapes());
    fs::create_dir(directory.path().join("deep")).unwrap();
    fs::write(directory.path().join("deep/modeling.PY"), "").unwrap();
    assert!(!inspect(directory.path(), None).unwrap().files.iter().any(|name| name.ends_with("PY")));
}

#[test]
fn missing_files_and_files_that_are_none() {
    let gone = Path::new("/nonexistent/checkpoint");
    assert!(matches!(inspect(gone, None), Err(SizingError::FileMissing { .. })));
    let directory = checkpoint(&config(), &shapes());
    assert!(matches!(inspect(&directory.path().join("config.json"), None), Err(SizingError::FileUnreadable { .. })));
    fs::remove_file(directory.path().join("config.json")).unwrap();
    assert!(matches!(inspect(directory.path(), None), Err(SizingError::FileMissing { .. })));
    fs::create_dir(directory.path().join("config.json")).unwrap();
    assert!(matches!(inspect(directory.path(), None), Err(SizingError::FileUnreadable { .. })));
}

#[cfg(unix)]
#[test]
fn links_may_not_leave_the_root() {
    let elsewhere = checkpoint(&config(), &shapes());
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("model");
    fs::create_dir(&inside).unwrap();
    fs::copy(elsewhere.path().join("config.json"), inside.join("config.json")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("model.safetensors"), inside.join("model.safetensors")).unwrap();
    assert!(inspect(&inside, None).is_ok());
    assert!(matches!(inspect(&inside, Some(root.path())), Err(SizingError::OutsideRoot { .. })));
}

#[test]
fn shards_and_their_index() {
    let directory = checkpoint(&config(), &shapes());
    fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    let (mut first, mut second) = (shapes(), Shapes::new());
    second.extend(first.split_off("bert.encoder.layer.1"));
    let map: serde_json::Map<_, _> = [(&first, "model-1.safetensors"), (&second, "model-2.safetensors")]
        .iter()
        .flat_map(|(shapes, shard)| shapes.keys().map(|name| (name.clone(), json!(*shard))))
        .collect();
    write_tensors(&directory.path().join("model-1.safetensors"), &first);
    write_tensors(&directory.path().join("model-2.safetensors"), &second);
    let write_index = |map: &serde_json::Map<String, Value>| {
        let index = json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
        fs::write(directory.path().join("model.safetensors.index.json"), index).unwrap();
        inspect(directory.path(), None)
    };
    let found = write_index(&map).unwrap();
    assert_eq!(found.parameter_count, found.tally.parameters);
    assert_eq!(found.files.len(), 4);
    let swap = |name: &str, shard: &str| {
        let mut changed = map.clone();
        changed.insert(name.to_owned(), json!(shard));
        write_index(&changed)
    };
    assert!(matches!(swap("classifier.bias", "model-1.safetensors"), Err(SizingError::ShardMismatch { .. })));
    assert!(matches!(swap("extra.weight", "model-3.safetensors"), Err(SizingError::FileMissing { .. })));
    // The first shard shows that a tensor is missing: no other one is looked for.
    fs::rename(directory.path().join("model-2.safetensors"), directory.path().join("away")).unwrap();
    let missing = swap("extra.weight", "model-1.safetensors").unwrap_err();
    assert!(matches!(&missing, SizingError::ShardMismatch { tensor, .. } if tensor == "extra.weight"), "{missing}");
    fs::rename(directory.path().join("away"), directory.path().join("model-2.safetensors")).unwrap();
    for name in ["../model-2.safetensors", "/etc/passwd", "model.bin", ""] {
        assert!(matches!(swap("classifier.bias", name), Err(SizingError::IndexInvalid { .. })), "{name}");
    }
    assert!(matches!(write_index(&serde_json::Map::new()), Err(SizingError::IndexInvalid { .. })));
}

fn mixtral() -> (Value, Shapes) {
    let config = json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 12, "vocab_size": 20, "num_local_experts": 3,
    });
    let mut shapes = Shapes::new();
    let mut add = |name: String, shape: &[u64]| shapes.insert(name, ("F32", shape.to_vec()));
    for (name, shape) in [("model.embed_tokens", vec![20, 8]), ("model.norm", vec![8]), ("lm_head", vec![20, 8])] {
        add(format!("{name}.weight"), &shape);
    }
    for layer in 0..2 {
        let mut weight = |name: &str, shape: &[u64]| add(format!("model.layers.{layer}.{name}.weight"), shape);
        for (name, rows) in [("q", 8), ("k", 4), ("v", 4), ("o", 8)] {
            weight(&format!("self_attn.{name}_proj"), &[rows, 8]);
        }
        weight("input_layernorm", &[8]);
        weight("post_attention_layernorm", &[8]);
        weight("block_sparse_moe.gate", &[3, 8]);
        for expert in 0..3 {
            for (name, shape) in [("w1", [12, 8]), ("w2", [8, 12]), ("w3", [12, 8])] {
                weight(&format!("block_sparse_moe.experts.{expert}.{name}"), &shape);
            }
        }
    }
    (config, shapes)
}

#[test]
fn experts_apart_are_the_parameters_of_all_experts() {
    let (config, apart) = mixtral();
    let found = outcome(&config, &apart).unwrap();
    let all: u64 = apart.values().map(|(_, shape)| shape.iter().product::<u64>()).sum();
    assert_eq!((found.parameter_count, found.tally.parameters, found.put_together), (all, all, true));
    let mut together = apart.clone();
    together.retain(|name, _| !name.contains("block_sparse_moe"));
    for layer in 0..2 {
        for (name, shape) in [
            ("gate.weight", vec![3, 8]),
            ("experts.gate_up_proj", vec![3, 24, 8]),
            ("experts.down_proj", vec![3, 8, 12]),
        ] {
            together.insert(format!("model.layers.{layer}.mlp.{name}"), ("F32", shape));
        }
    }
    let found = outcome(&config, &together).unwrap();
    assert_eq!((found.parameter_count, found.tally.parameters, found.put_together), (all, all, false));
}

#[test]
fn experts_that_are_not_the_configs() {
    let (config, whole) = mixtral();
    let mut fewer = whole.clone();
    fewer.remove("model.layers.1.block_sparse_moe.experts.2.w3.weight");
    let missing = "model.layers.1.block_sparse_moe.experts.2.w3.weight".to_owned();
    assert_eq!(outcome(&config, &fewer).unwrap_err(), SizingError::TensorMissing { tensor: missing });
    for count in [2_u64, 4, 1 << 31] {
        let mut other = config.clone();
        other["num_local_experts"] = json!(count);
        let found = outcome(&other, &whole).unwrap_err();
        let gate = "model.layers.0.block_sparse_moe.gate.weight".to_owned();
        let wanted = SizingError::ConfigMismatch { field: "num_experts", config: count, found: 3, tensor: gate };
        assert_eq!(found, wanted);
    }
    let mut more = whole.clone();
    more.insert("model.layers.0.block_sparse_moe.experts.3.w1.weight".to_owned(), ("F32", vec![12, 8]));
    assert!(matches!(outcome(&config, &more), Err(SizingError::TensorUnexpected { .. })));
    let mut narrow = whole;
    narrow.get_mut("model.layers.1.block_sparse_moe.experts.1.w2.weight").unwrap().1 = vec![8, 11];
    assert!(matches!(
        outcome(&config, &narrow),
        Err(SizingError::ConfigMismatch { field: "intermediate_size", config: 12, found: 11, .. })
    ));
}

#[test]
fn an_output_embedding_beside_a_tied_one_is_left_out() {
    let (mut config, mut shapes) = mixtral();
    config["tie_word_embeddings"] = json!(true);
    let found = outcome(&config, &shapes).unwrap();
    assert_eq!((found.parameter_count, found.warnings.len()), (found.tally.parameters, 1));
    shapes.remove("lm_head.weight");
    assert_eq!(outcome(&config, &shapes).unwrap().parameter_count, found.parameter_count);
}
