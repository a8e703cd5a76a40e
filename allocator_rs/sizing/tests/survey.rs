//! Whatever can be sized: every catalogue row under bad input, GGUF headers turned into checkpoints, engines and splits.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sizing::catalogue;
use sizing::engines::pages;
use sizing::limits::limits;
use sizing::weights::stages;
use sizing::{Engine, KvDtype, Lora, Request, SizingError, WeightDtype, size_for, survey, survey_config, totals_for};

/// Every field that any rule reads.
const FIELDS: [&str; 64] = [
    "intermediate_size_mlp",
    "attention_chunk_size",
    "interleave_moe_layer_step",
    "no_rope_layer_interval",
    "hidden_size",
    "n_embd",
    "d_model",
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "attention_heads",
    "num_key_value_heads",
    "num_kv_heads",
    "head_dim",
    "intermediate_size",
    "n_inner",
    "ffn_dim",
    "ffn_hidden_size",
    "vocab_size",
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "type_vocab_size",
    "embedding_size",
    "num_hidden_groups",
    "inner_group_num",
    "d_kv",
    "d_ff",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_intermediate_size",
    "n_shared_experts",
    "first_k_dense_replace",
    "decoder_sparse_step",
    "kv_lora_rank",
    "q_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "state_size",
    "conv_kernel",
    "expand",
    "time_step_rank",
    "n_groups",
    "sliding_window",
    "num_nextn_predict_layers",
    "attn_layer_period",
    "expert_layer_period",
    "mamba_n_heads",
    "dim",
    "hidden_dim",
];
const FLAGS: [&str; 6] = [
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "use_sliding_window",
    "multi_query",
    "new_decoder_architecture",
];

/// A config that suits most rows: everything that any of them reads, small.
fn plain(architecture: &str) -> Map<String, Value> {
    let mut config: Map<String, Value> = FIELDS.iter().map(|field| ((*field).to_owned(), json!(4))).collect();
    for (field, value) in
        [("hidden_size", 16), ("n_embd", 16), ("d_model", 16), ("dim", 16), ("max_position_embeddings", 64)]
    {
        config.insert(field.to_owned(), json!(value));
    }
    config.insert("architectures".to_owned(), json!([architecture]));
    config.insert("num_kv_heads".to_owned(), json!(2));
    config.insert("num_key_value_heads".to_owned(), json!(2));
    // Mamba-2's heads are bound to its width: 16 * 4 / 16.
    config.insert("head_dim".to_owned(), json!(16));
    config.insert("n_positions".to_owned(), json!(64));
    // Towers have their classes' defaults.
    config.insert("vision_config".to_owned(), json!({}));
    config
}

fn read(config: &Map<String, Value>) -> Result<sizing::Checkpoint, SizingError> {
    survey_config(Value::Object(config.clone()).to_string().as_bytes())
}

#[test]
fn every_row_reads_a_plain_config_and_adds_up() {
    for row in catalogue::all() {
        let checkpoint = read(&plain(row.name)).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        let summed: u64 = checkpoint
            .model
            .rules
            .iter()
            .map(|rule| {
                let layered = rule.place == sizing::model::Place::Layer;
                let copies = if layered { rule.layers.count(0, checkpoint.model.shape.layers) } else { 1 };
                rule.elements().unwrap() * copies
            })
            .sum();
        assert_eq!(checkpoint.parameter_count, summed, "{}", row.name);
        for (name, engine) in Engine::ALL {
            let request = Request { engine, ..Request::torch(WeightDtype::Bf16, 8, 2) };
            let sized = size_for(&checkpoint, &request).unwrap_or_else(|error| panic!("{} {name}: {error}", row.name));
            let totals = totals_for(&checkpoint, &request).unwrap();
            assert_eq!((totals.bytes, totals.upper_bytes), (sized.bytes().unwrap(), sized.upper_bytes().unwrap()));
            assert!(sized.components.iter().all(|part| part.bytes <= part.upper_bytes && !part.formula.is_empty()));
        }
    }
}

/// A Mixture's config in FP8 blocks, or another quantisation; its experts are 768 wide.
fn experts(quantisation: &Value) -> Value {
    json!({
        "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 4,
        "num_experts_per_tok": 2, "decoder_sparse_step": 1, "vocab_size": 512, "max_position_embeddings": 64,
        "torch_dtype": "bfloat16", "quantization_config": quantisation
    })
}

fn split(config: &Value, tensor_parallel: u64) -> Result<u64, String> {
    let checkpoint = survey_config(config.to_string().as_bytes()).unwrap();
    let dtype = checkpoint.stored_dtype;
    let request = Request { engine: Engine::Vllm, tensor_parallel, ..Request::torch(dtype, 8, 1) };
    totals_for(&checkpoint, &request).map(|totals| totals.bytes).map_err(|error| error.to_string())
}

#[test]
fn splits_that_vllm_refuses_are_refused() {
    let blocks = experts(&json!({"quant_method": "fp8", "weight_block_size": [128, 128]}));
    // 768 / 2 is three blocks, 768 / 4 one and a half, 768 / 8 less than one.
    assert!(split(&blocks, 2).is_ok());
    for ranks in [4, 8] {
        assert!(split(&blocks, ranks).unwrap_err().contains("share a scale"), "{ranks}");
    }
    // Without blocks the experts divide by eight; groups of 128 inputs do not.
    assert!(split(&experts(&Value::Null), 8).is_ok());
    let groups = experts(&json!({"quant_method": "gptq", "bits": 4, "group_size": 128}));
    assert!(split(&groups, 8).unwrap_err().contains("share a scale"));
    let mut odd = experts(&Value::Null);
    odd["moe_intermediate_size"] = json!(770);
    assert!(split(&odd, 4).unwrap_err().contains("widths"));
}

#[test]
fn a_packed_wrapper_is_told_by_its_files_unless_its_tower_is_kept() {
    let config = |quantisation: Value| {
        let text = json!({
            "model_type": "qwen3_vl_text", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 512, "vocab_size": 512, "max_position_embeddings": 64
        });
        json!({
            "architectures": ["Qwen3VLForConditionalGeneration"], "torch_dtype": "bfloat16", "text_config": text,
            "vision_config": {}, "quantization_config": quantisation
        })
    };
    let plain = survey_config(config(Value::Null).to_string().as_bytes()).unwrap();
    let read = |kept: Value| {
        let quantisation = json!({"quant_method": "fp8", "modules_to_not_convert": kept});
        survey_config(config(quantisation).to_string().as_bytes())
    };
    assert!(read(json!(["lm_head"])).unwrap_err().to_string().contains("vision tower"));
    // Every linear layer but the head loses a byte a value; those named by a wrapper's longer names keep it.
    let whole = read(json!(["visual", "lm_head"])).unwrap();
    assert!(whole.stored_bytes < plain.stored_bytes);
    let kept = read(json!(["model.visual", "lm_head", "model.language_model.layers.1.mlp"])).unwrap();
    assert_eq!(whole.packed_parameters - kept.packed_parameters, 3 * 256 * 512);
}

#[test]
fn no_field_of_any_row_makes_it_panic() {
    let bad = [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("8"),
        json!(1_u64 << 40),
        json!([1]),
        json!({}),
        json!(true),
        Value::Null,
    ];
    for row in catalogue::all() {
        for field in FIELDS.iter().chain(&FLAGS) {
            for value in &bad {
                let mut config = plain(row.name);
                config.insert((*field).to_owned(), value.clone());
                if let Ok(checkpoint) = read(&config) {
                    let _ = size_for(&checkpoint, &Request::torch(WeightDtype::Fp32, 1, 1));
                }
            }
            let mut config = plain(row.name);
            config.remove(*field);
            let _ = read(&config);
        }
    }
}

#[test]
fn sums_without_components_are_the_same() {
    let checkpoint = read(&plain("MixtralForCausalLM")).unwrap();
    for stage_count in 1..=4 {
        let request = Request {
            engine: Engine::Vllm,
            pipeline_parallel: stage_count,
            tensor_parallel: 2,
            ..Request::torch(WeightDtype::Fp8, 16, 3)
        };
        let sized = size_for(&checkpoint, &request).unwrap();
        assert_eq!(sized.ranks.len() as u64, 2 * stage_count);
        assert_eq!(totals_for(&checkpoint, &request).unwrap().upper_bytes, sized.upper_bytes().unwrap());
        let most = sized.ranks.iter().map(|rank| rank.upper_bytes).max().unwrap();
        assert_eq!(most, sized.upper_bytes().unwrap());
    }
}

#[test]
fn infinities_of_python_are_read_and_strings_kept() {
    let mut config = plain("Mamba2ForCausalLM");
    config.insert("note".to_owned(), json!("an \"Infinity\" and a NaN"));
    let text = Value::Object(config).to_string();
    let limit = text.replacen('{', r#"{"time_step_limit": [0.0, Infinity, -Infinity, NaN],"#, 1);
    let [with, without] = [limit.as_bytes(), text.as_bytes()].map(|text| survey_config(text).unwrap());
    assert_eq!(with.parameter_count, without.parameter_count);
}

#[test]
fn quantised_configs_are_sized_and_not_served() {
    for (method, expected) in [
        (json!({"quant_method": "fp8"}), "FP8"),
        (json!({"quant_method": "gptq", "bits": 4}), "INT4_G128"),
        (json!({"quant_method": "awq"}), "INT4_G128"),
        (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), "NF4"),
        (json!({"quant_method": "bitsandbytes", "bnb_4bit_use_double_quant": true}), "NF4_DOUBLE"),
        (json!({"quant_method": "bitsandbytes", "load_in_8bit": true}), "INT8_ROWS"),
        (json!({"quant_method": "mxfp4"}), "MXFP4"),
    ] {
        let mut config = plain("LlamaForCausalLM");
        config.insert("quantization_config".to_owned(), method);
        assert_eq!(read(&config).unwrap().stored_dtype.name(), expected);
        assert!(sizing::inspect_config(Value::Object(config).to_string().as_bytes()).is_err());
    }
    let mut config = plain("LlamaForCausalLM");
    config.insert("quantization_config".to_owned(), json!({"quant_method": "aqlm"}));
    assert!(matches!(read(&config), Err(SizingError::DtypeUnsupported { .. })));
}

#[test]
fn a_foreign_architecture_is_answered_by_its_tensors() {
    let directory = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["StrangeForCausalLM"], "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": 10, "auto_map": {"AutoModel": "strange.Strange"}});
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(directory.path().join("strange.py"), "raise SystemExit").unwrap();
    assert!(matches!(survey(directory.path(), None), Err(SizingError::ArchitectureUnknown { .. })));
    let header = r#"{"embed.weight":{"dtype":"BF16","shape":[10,8],"data_offsets":[0,160]},
        "w":{"dtype":"BF16","shape":[4,8],"data_offsets":[160,224]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + 224, 0);
    std::fs::write(directory.path().join("model.safetensors"), file).unwrap();
    let found = survey(directory.path(), None).unwrap();
    assert_eq!((found.parameter_count, found.stored_bytes, found.stored_dtype), (112, 224, WeightDtype::Bf16));
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    let sized = size_for(&found, &Request::torch(WeightDtype::Bf16, 4, 1)).unwrap();
    assert_eq!((sized.kv_bytes_per_token, sized.components[0].bytes), (2 * 2 * 8 * 2, 224));
    assert!(sizing::inspect(directory.path(), None).is_err());
}

#[test]
fn stages_keep_the_remainder_from_the_last_one() {
    for layers in 1..40_u64 {
        for count in 1..=layers {
            let found = stages(layers, count);
            assert_eq!(found.iter().map(|stage| stage.end - stage.begin).sum::<u64>(), layers);
            assert!(found.windows(2).all(|pair| pair[0].end == pair[1].begin));
            let sizes: Vec<_> = found.iter().map(|stage| stage.end - stage.begin).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            assert_eq!(sizes.last(), sizes.iter().min());
        }
    }
}

#[test]
fn what_fits_is_the_largest_that_does() {
    let checkpoint = read(&plain("Qwen3ForCausalLM")).unwrap();
    let request = Request::torch(WeightDtype::Bf16, 8, 2);
    let free = totals_for(&checkpoint, &Request { max_concurrency: 37, ..request }).unwrap().upper_bytes;
    let found = limits(&checkpoint, &request, free).unwrap();
    assert_eq!(found.max_concurrency, Some(37));
    let context_length = found.context_length.unwrap();
    let fits = |context_length| {
        totals_for(&checkpoint, &Request { context_length, ..request }).is_ok_and(|t| t.upper_bytes <= free)
    };
    assert!(fits(context_length) && !fits(context_length + 1));
    assert_eq!(limits(&checkpoint, &request, 0).unwrap().context_length, None);
}

#[test]
fn engines_refuse_formats_that_they_do_not_have() {
    let checkpoint = read(&plain("LlamaForCausalLM")).unwrap();
    let refuse = |engine, dtype, kv_dtype| {
        let request = Request { engine, kv_dtype, ..Request::torch(dtype, 8, 1) };
        assert!(matches!(size_for(&checkpoint, &request), Err(SizingError::EngineDtype { .. })), "{engine:?} {dtype}");
    };
    let q4 = WeightDtype::parse("Q4_0").unwrap();
    refuse(Engine::Torch, q4, KvDtype::Auto);
    refuse(Engine::Torch, WeightDtype::Bf16, KvDtype::Fp8);
    refuse(Engine::LlamaCpp, WeightDtype::Nf4, KvDtype::Auto);
    refuse(Engine::Vllm, WeightDtype::Bf16, KvDtype::Q8);
    refuse(Engine::Sglang, q4, KvDtype::Auto);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn no_config_and_no_request_panics(
        row in any::<prop::sample::Index>(), changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<u64>().prop_map(|x| x >> (x % 64))), 0..8),
        engine in 0_usize..5, dtype in prop_oneof!["FP32", "BF16", "INT8", "FP8", "NF4", "NF4_DOUBLE", "GPTQ", "Q4_K"],
        context in any::<u64>().prop_map(|x| x >> (x % 64)), sequences in any::<u64>().prop_map(|x| x >> (x % 64)),
        ranks in 1_u64..20, stages in 1_u64..8, batched in proptest::option::of(any::<u64>()),
        lora in proptest::option::of((any::<u64>(), any::<u64>())),
    ) {
        let rows: Vec<_> = catalogue::all().collect();
        let mut config = plain(rows[row.index(rows.len())].name);
        for (field, value) in changes {
            config.insert(FIELDS[field.index(FIELDS.len())].to_owned(), json!(value));
        }
        let Ok(checkpoint) = read(&config) else { return Ok(()) };
        let request = Request {
            engine: Engine::ALL[engine].1,
            tensor_parallel: if engine == 0 { 1 } else { ranks },
            pipeline_parallel: if engine == 0 { 1 } else { stages },
            max_batched_tokens: batched,
            lora: lora.map(|(adapters, rank)| Lora { adapters, rank }),
            ..Request::torch(WeightDtype::parse(&dtype).unwrap(), context, sequences)
        };
        if let Ok(sized) = size_for(&checkpoint, &request) {
            if let (Ok(bytes), Ok(upper)) = (sized.bytes(), sized.upper_bytes()) {
                prop_assert!(bytes <= upper);
            }
            prop_assert!(pages::bytes_per_token(&checkpoint, &request).is_ok());
        }
    }

    #[test]
    fn more_ranks_never_need_more_each(log in 0_u32..4, context in 1_u64..64, sequences in 1_u64..9) {
        let mut config = plain("LlamaForCausalLM");
        for (field, value) in [("num_attention_heads", 16), ("num_key_value_heads", 4), ("hidden_size", 64), ("intermediate_size", 128)] {
            config.insert(field.to_owned(), json!(value));
        }
        let checkpoint = read(&config).unwrap();
        let upper = |tensor_parallel| {
            let request =
                Request { engine: Engine::Vllm, tensor_parallel, ..Request::torch(WeightDtype::Bf16, context, sequences) };
            totals_for(&checkpoint, &request).unwrap().upper_bytes
        };
        prop_assert!(upper(1 << (log + 1)) <= upper(1 << log));
    }

    #[test]
    fn random_text_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = survey_config(&bytes);
        let text = format!("{{\"architectures\":[\"LlamaForCausalLM\"],\"x\":Infinity,{}", String::from_utf8_lossy(&bytes));
        let _ = survey_config(text.as_bytes());
    }
}
