//! Configs alone: exact parameter counts, and an error for whatever is missing, of the wrong kind or out of range.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};
use sizing::cache::CacheKind;
use sizing::{CpuIsa, Request, SizingError, WeightDtype, inspect_config, size, size_for, survey_config};

fn inspect(config: &Value) -> Result<sizing::Checkpoint, SizingError> {
    inspect_config(config.to_string().as_bytes())
}

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128_256,
        "max_position_embeddings": 131_072,
    })
}

fn bert() -> Value {
    json!({
        "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "vocab_size": 30_522, "max_position_embeddings": 512, "type_vocab_size": 2,
    })
}

fn gpt2() -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257,
        "n_positions": 1024,
    })
}

fn with(mut config: Value, field: &str, value: Value) -> Value {
    config.as_object_mut().unwrap().insert(field.to_owned(), value);
    config
}

fn component(sized: &sizing::Sized, name: &str) -> u64 {
    sized.components.iter().find(|part| part.name == name).unwrap().bytes
}

#[test]
fn int8_is_what_the_engine_does_to_llama() {
    let checkpoint = inspect(&llama()).unwrap();
    assert_eq!(checkpoint.parameter_count, 8_030_261_248);
    let sized = size(&checkpoint, WeightDtype::Int8, 128, 1).unwrap();
    assert_eq!(component(&sized, "weights"), 9_086_705_664);
    assert_eq!(component(&sized, "quantisation_zero_points"), 1_376_256);
}

#[test]
fn int8_is_refused_where_it_does_little() {
    let checkpoint = inspect(&gpt2()).unwrap();
    let refused = size(&checkpoint, WeightDtype::Int8, 128, 1);
    assert!(matches!(refused, Err(SizingError::QuantisationIneffective { quantised: 0, .. })));
    assert_eq!(size(&checkpoint, WeightDtype::Fp32, 128, 1).unwrap().quantised_ppm, 0);
}

#[test]
fn int8_of_a_small_encoder_says_its_share() {
    let sized = size(&inspect(&bert()).unwrap(), WeightDtype::Int8, 512, 8).unwrap();
    // The engine's own tensors: 58,673,792 bytes (unique storages, torchao 0.18).
    let tensors = ["weights", "quantisation_zero_points", "buffers"].map(|name| component(&sized, name));
    assert_eq!(tensors.iter().sum::<u64>(), 58_673_792);
    assert_eq!(sized.quantised_ppm, 473_921);
}

#[test]
fn activations_are_the_ones_that_were_traced() {
    let checkpoint = inspect(&bert()).unwrap();
    let peak = |sequences, context| {
        component(&size(&checkpoint, WeightDtype::Fp32, context, sequences).unwrap(), "activations")
    };
    // torch.profiler's memory events, batch x context: 1x64 without padding, the others padded; with 16 bytes a token of ids and mask.
    assert_eq!([peak(1, 64), peak(4, 64), peak(8, 128), peak(4, 256)], [1_082_368, 4_345_856, 17_448_960, 17_580_032]);
    let small = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 8,
        "num_key_value_heads": 4, "intermediate_size": 688, "vocab_size": 300, "max_position_embeddings": 512,
    });
    let checkpoint = inspect(&small).unwrap();
    let peak = |sequences, context| {
        component(&size(&checkpoint, WeightDtype::Fp32, context, sequences).unwrap(), "activations")
    };
    // A whole step of the worker, from ids and mask to the chosen token; tests/worker/test_activations.py compares drawn shapes.
    assert_eq!([peak(1, 64), peak(4, 64), peak(8, 128), peak(4, 256)], [808_448, 3_250_176, 13_066_240, 13_197_312]);
}

#[test]
fn limits_of_context_and_concurrency() {
    let checkpoint = inspect(&bert()).unwrap();
    for context in [0, 513, u64::MAX] {
        assert!(matches!(
            size(&checkpoint, WeightDtype::Fp32, context, 1),
            Err(SizingError::ContextInvalid { limit: 512, .. })
        ));
    }
    for concurrency in [0, u64::MAX] {
        let found = size(&checkpoint, WeightDtype::Fp32, 1, concurrency);
        assert!(matches!(found, Err(SizingError::ConcurrencyInvalid { .. })));
    }
}

#[test]
fn roberta_loses_its_padding_positions() {
    let config = with(with(bert(), "architectures", json!(["RobertaModel"])), "max_position_embeddings", json!(514));
    assert_eq!(inspect(&config).unwrap().model.shape.max_context, 512);
    assert!(inspect(&with(config, "pad_token_id", json!(513))).is_err());
}

#[test]
fn every_field_is_checked() {
    for config in [llama(), bert(), gpt2()] {
        for field in
            config.as_object().unwrap().keys().filter(|name| *name != "torch_dtype" && *name != "architectures")
        {
            for bad in [json!(0), json!(-1), json!(1.5), json!("8"), json!(1_u64 << 40), json!([1]), json!(true)] {
                let found = inspect(&with(config.clone(), field, bad.clone()));
                assert!(matches!(found, Err(SizingError::FieldInvalid { .. })), "{field} {bad} {found:?}");
            }
        }
    }
    for field in ["hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size", "max_position_embeddings"] {
        assert!(
            matches!(inspect(&with(llama(), field, Value::Null)), Err(SizingError::FieldMissing { .. })),
            "{field}"
        );
    }
}

#[test]
fn what_has_no_rule_is_refused() {
    let unknown = inspect(&with(llama(), "architectures", json!(["MambaForCausalLM"])));
    assert!(matches!(unknown, Err(SizingError::ArchitectureUnknown { .. })));
    assert!(matches!(inspect(&with(llama(), "architectures", json!([]))), Err(SizingError::FieldInvalid { .. })));
    let decoder = inspect(&with(bert(), "is_decoder", json!(true)));
    assert!(matches!(decoder, Err(SizingError::FeatureUnsupported { field: "is_decoder", .. })));
    let quantised = inspect(&with(llama(), "quantization_config", json!({"quant_method": "gptq"})));
    assert!(matches!(quantised, Err(SizingError::SourceUnsupported { field: "quantization_config", .. })));
    let code = inspect(&with(llama(), "auto_map", json!({"AutoModel": "x.Y"})));
    assert!(matches!(code, Err(SizingError::SourceUnsupported { field: "auto_map", .. })));
    let dtype = inspect(&with(llama(), "torch_dtype", json!("float8_e4m3fn")));
    assert!(matches!(dtype, Err(SizingError::DtypeUnsupported { .. })));
    let uneven = inspect(&with(llama(), "num_key_value_heads", json!(7)));
    assert!(matches!(uneven, Err(SizingError::FieldInvalid { field: "num_key_value_heads", .. })));
}

#[test]
fn no_dimension_overflows_silently() {
    let largest = json!(1_u64 << 31);
    let mut config = llama();
    for field in [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
    ] {
        config = with(config, field, largest.clone());
    }
    assert!(matches!(inspect(&config), Err(SizingError::Overflow { .. })));
}

#[test]
fn configs_that_are_no_configs() {
    let deep = "[".repeat(10_000);
    for text in ["", "[]", "7", "{", "nul", &deep] {
        assert!(matches!(inspect_config(text.as_bytes()), Err(SizingError::ConfigInvalid { .. })), "{text:.10}");
    }
}

#[test]
fn a_field_nested_ten_thousand_deep_is_an_error() {
    let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
    let objects = r#"{"a":"#.repeat(10_000) + "1" + &"}".repeat(10_000);
    for config in [llama(), bert(), gpt2()] {
        for field in config.as_object().unwrap().keys() {
            for nested in [format!("{open}1{close}"), objects.clone()] {
                let text = with(config.clone(), field, json!("@")).to_string().replace(r#""@""#, &nested);
                let found = inspect_config(text.as_bytes());
                assert!(matches!(found, Err(SizingError::ConfigInvalid { .. })), "{field}: {found:?}");
            }
        }
    }
}

#[test]
fn a_config_beyond_its_limit_is_refused_before_it_is_parsed() {
    let text = with(llama(), "x", json!("a".repeat(16 * 1024 * 1024))).to_string();
    let found = inspect_config(text.as_bytes());
    assert!(matches!(&found, Err(SizingError::ConfigInvalid { detail }) if detail.contains("16777216")), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = inspect_config(&bytes);
    }

    #[test]
    fn random_dimensions_never_panic(
        numbers in proptest::collection::vec(any::<u64>().prop_map(|x| x >> (x % 64)), 7),
        context in any::<u64>(), concurrency in any::<u64>(),
    ) {
        let fields = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
            "vocab_size", "max_position_embeddings"];
        let config = fields.iter().zip(&numbers).fold(llama(), |config, (field, number)| with(config, field, json!(number)));
        if let Ok(checkpoint) = inspect(&config) {
            for dtype in WeightDtype::ALL {
                let Ok(sized) = size(&checkpoint, dtype, context, concurrency) else { continue };
                let (Ok(bytes), Ok(upper)) = (sized.bytes(), sized.upper_bytes()) else { continue };
                prop_assert!(bytes <= upper);
            }
        }
    }

    #[test]
    fn more_work_never_needs_less(context in 1_u64..512, sequences in 1_u64..64) {
        for config in [bert(), llama()] {
            let checkpoint = inspect(&config).unwrap();
            for (name, cpu_isa) in CpuIsa::ALL {
                let upper = |context, sequences| {
                    let request = Request { cpu_isa, ..Request::torch(WeightDtype::Bf16, context, sequences) };
                    size_for(&checkpoint, &request).unwrap().upper_bytes().unwrap()
                };
                // Blocks of rows are those that divide the rows best; with all rows in one block there are no such steps.
                let step = if matches!(cpu_isa, CpuIsa::Avx2 | CpuIsa::Avx512Core) { 0 } else { 1 << 18 };
                let more = upper(context + 1, sequences).min(upper(context, sequences + 1));
                prop_assert!(upper(context, sequences) <= more + step, "{}", name);
            }
        }
    }
}

/// Windowed layers of an EXAONE 4 of so many layers, by its pattern.
fn windowed(pattern: &Value, layers: u64) -> Result<Vec<u64>, SizingError> {
    let config = json!({
        "architectures": ["Exaone4ForCausalLM"], "torch_dtype": "bfloat16", "hidden_size": 64, "intermediate_size": 64,
        "num_hidden_layers": layers, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
        "max_position_embeddings": 4096, "sliding_window": 512, "sliding_window_pattern": pattern, "layer_types": null,
    });
    let caches = survey_config(config.to_string().as_bytes())?.model.caches;
    let sliding = caches.iter().filter(|group| matches!(group.kind, CacheKind::Sliding { .. }));
    Ok(sliding.flat_map(|group| (0..layers).filter(|layer| group.layers.holds(*layer))).collect())
}

#[test]
fn letters_say_which_layers_see_a_window() {
    let letters = |text: &str, layers| windowed(&json!(text), layers).unwrap();
    assert_eq!(letters("LLLG", 8), windowed(&json!(4), 8).unwrap());
    assert_eq!(letters("LLLG", 8), [0, 1, 2, 4, 5, 6]);
    // The last layer sees everything, whatever its letter.
    assert_eq!(letters("LLLG", 6), [0, 1, 2, 4]);
    assert_eq!(letters("GL", 5), [1, 3]);
    assert_eq!(letters("L", 3), [0, 1]);
    assert!(letters("G", 3).is_empty());
    for bad in ["", "LLXG", "lllg", "4"] {
        let error = windowed(&json!(bad), 8).unwrap_err();
        assert!(matches!(error, SizingError::FieldInvalid { field: "sliding_window_pattern", .. }), "{bad}: {error}");
    }
}
