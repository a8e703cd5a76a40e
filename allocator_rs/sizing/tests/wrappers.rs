//! Text models beside a vision tower, as published: what their nested configs leave out is what their classes have by default.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;

use serde_json::{Value, json};
use sizing::{Checkpoint, SizingError, survey, survey_config};

fn read(config: &Value) -> Result<Checkpoint, SizingError> {
    survey_config(config.to_string().as_bytes())
}

fn gemma_3(text: &Value) -> Value {
    let vision = json!({"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "num_hidden_layers": 27,
        "model_type": "siglip_vision_model", "num_attention_heads": 16, "patch_size": 14, "vision_use_head": false});
    json!({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "torch_dtype": "bfloat16",
        "text_config": text, "vision_config": vision})
}

/// google/gemma-3-4b-it.
fn gemma_3_4b() -> Value {
    gemma_3(&json!({"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 34, "sliding_window": 1024}))
}

fn llava(text: &Value, vision: &Value) -> Value {
    json!({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "torch_dtype": "float16",
        "text_config": text, "vision_config": vision})
}

/// A directory with the config and one tensor.
fn directory(config: &Value) -> Checkpoint {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let header = r#"{"model.embed_tokens.weight":{"dtype":"BF16","shape":[32,64],"data_offsets":[0,4096]}}"#;
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len().saturating_add(4096), 0);
    fs::write(directory.path().join("model.safetensors"), file).unwrap();
    survey(directory.path(), None).unwrap()
}

#[test]
fn published_configs_are_sized_by_their_classes_defaults() {
    // Parameters and contexts: transformers 5.23 on the meta device, from the same fields.
    let gemma_27b = json!({"model_type": "gemma3_text", "head_dim": 128, "hidden_size": 5376, "sliding_window": 1024,
        "intermediate_size": 21504, "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16});
    let vicuna = json!({"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064});
    let clip = json!({"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "patch_size": 14,
        "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24});
    let nemo = json!({"model_type": "mistral", "head_dim": 128, "hidden_size": 5120, "intermediate_size": 14336,
        "max_position_embeddings": 1_024_000, "num_hidden_layers": 40, "num_key_value_heads": 8,
        "sliding_window": null, "vocab_size": 131_072});
    let pixtral = json!({"model_type": "pixtral", "head_dim": 64, "image_size": 1024, "patch_size": 16});
    for (name, config, parameters, context) in [
        ("gemma-3-4b-it", gemma_3_4b(), 4_300_079_472, 131_072),
        ("gemma-3-27b-it", gemma_3(&gemma_27b), 27_432_406_640, 131_072),
        ("llava-1.5-7b-hf", llava(&vicuna, &clip), 7_063_427_072, 4_096),
        ("pixtral-12b", llava(&nemo, &pixtral), 12_682_739_712, 1_024_000),
    ] {
        let found = read(&config).unwrap();
        assert_eq!((found.parameter_count, found.model.shape.max_context), (parameters, context), "{name}");
    }
}

#[test]
fn null_stays_null_and_plain_models_are_not_filled() {
    let mut config = gemma_3_4b();
    config["text_config"]["vocab_size"] = Value::Null;
    assert_eq!(read(&config).unwrap_err(), SizingError::FieldMissing { field: "vocab_size" });
    let text = gemma_3_4b()["text_config"].clone();
    for name in ["Gemma3ForCausalLM", "LlamaForCausalLM", "Qwen2ForCausalLM"] {
        let mut plain = text.clone();
        plain["architectures"] = json!([name]);
        assert_eq!(read(&plain).unwrap_err(), SizingError::FieldMissing { field: "num_attention_heads" }, "{name}");
    }
}

#[test]
fn a_text_model_of_another_class_has_its_own_defaults_or_is_refused() {
    let of = |kind: &str| read(&llava(&json!({"model_type": kind}), &json!({})));
    assert_eq!(of("qwen2").unwrap().model.shape.vocabulary, 151_936);
    assert!(of("gemma").unwrap().model.shape.tied && !of("llama").unwrap().model.shape.tied);
    let refused = SizingError::FeatureUnsupported { field: "text_config.model_type", value: "strange".to_owned() };
    assert_eq!(of("strange").unwrap_err(), refused);
    // Gemma 3's wrapper has one class, whatever its config calls it.
    let mut config = gemma_3_4b();
    config["text_config"]["model_type"] = json!("strange");
    assert_eq!(read(&config).unwrap().parameter_count, 4_300_079_472);
}

#[test]
fn files_say_which_rules_failed_and_never_that_a_known_class_is_unknown() {
    let mut config = gemma_3_4b();
    assert!(!directory(&config).warnings.iter().any(|warning| warning.contains("unverified")));
    config.as_object_mut().unwrap().remove("vision_config");
    let found = directory(&config);
    let said = "the rules of Gemma3ForConditionalGeneration cannot read this config (config.json lacks vision_config): \
                weights are the files' tensors, the rest is unverified";
    assert!(found.warnings.iter().any(|warning| warning == said), "{:?}", found.warnings);
    // What the tower's absence does not touch is still the text model's.
    assert_eq!((found.model.shape.max_context, found.model.shape.head_dim), (131_072, 256));
    config["architectures"] = json!(["StrangeForConditionalGeneration"]);
    config["text_config"]["num_attention_heads"] = json!(8);
    let said = "the catalogue has no StrangeForConditionalGeneration: weights";
    assert!(directory(&config).warnings.iter().any(|warning| warning.starts_with(said)));
}
