//! Packed weights: read as configs and files beside them say it, and counted from headers to the byte.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use sizing::{Checkpoint, Engine, Request, SizingError, WeightDtype, size_for, survey, survey_config};

type Shapes = BTreeMap<String, (&'static str, Vec<u64>)>;

/// Linear layers of a layer: name, outputs, inputs.
const LINEAR: [(&str, u64, u64); 7] = [
    ("self_attn.q_proj", 128, 128),
    ("self_attn.k_proj", 64, 128),
    ("self_attn.v_proj", 64, 128),
    ("self_attn.o_proj", 128, 128),
    ("mlp.gate_proj", 192, 128),
    ("mlp.up_proj", 192, 128),
    ("mlp.down_proj", 128, 192),
];
const LAYERS: u64 = 3;
const VOCABULARY: u64 = 320;

fn llama(quantised: &Value) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": VOCABULARY,
        "max_position_embeddings": 64, "torch_dtype": "bfloat16", "quantization_config": quantised,
    })
}

/// What is never packed: embeddings and norms.
fn frame() -> Shapes {
    let mut shapes = Shapes::new();
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        shapes.insert(name.to_owned(), ("BF16", vec![VOCABULARY, 128]));
    }
    shapes.insert("model.norm.weight".to_owned(), ("BF16", vec![128]));
    for layer in 0..LAYERS {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            shapes.insert(format!("model.layers.{layer}.{norm}.weight"), ("BF16", vec![128]));
        }
    }
    shapes
}

type Pack = fn(u64, u64) -> Vec<(&'static str, &'static str, Vec<u64>)>;

fn packed(pack: Pack, plain: &[&str]) -> Shapes {
    let mut shapes = frame();
    for layer in 0..LAYERS {
        for (name, output, input) in LINEAR {
            let module = format!("model.layers.{layer}.{name}");
            if plain.iter().any(|part| module.contains(part)) {
                shapes.insert(format!("{module}.weight"), ("BF16", vec![output, input]));
                continue;
            }
            for (part, dtype, shape) in pack(output, input) {
                shapes.insert(format!("{module}.{part}"), (dtype, shape));
            }
        }
    }
    shapes
}

fn bytes_of(shapes: &Shapes) -> u64 {
    let width = |dtype: &str| match dtype {
        "F32" | "I32" | "U32" => 4,
        "BF16" | "F16" => 2,
        "I64" => 8,
        _ => 1,
    };
    shapes.values().map(|(dtype, shape)| shape.iter().product::<u64>() * width(dtype)).sum()
}

fn parameters() -> u64 {
    let layer: u64 = LINEAR.iter().map(|(_, output, input)| output * input).sum();
    2 * VOCABULARY * 128 + 128 + LAYERS * (layer + 2 * 128)
}

fn write(directory: &Path, config: &Value, shapes: &Shapes) {
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let (mut header, mut end) = (Map::new(), 0);
    for (name, tensor) in shapes {
        let bytes = bytes_of(&BTreeMap::from([(name.clone(), tensor.clone())]));
        header.insert(name.clone(), json!({"dtype": tensor.0, "shape": tensor.1, "data_offsets": [end, end + bytes]}));
        end += bytes;
    }
    let text = Value::Object(header).to_string();
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text.as_bytes());
    file.resize(file.len() + usize::try_from(end).unwrap(), 0);
    fs::write(directory.join("model.safetensors"), file).unwrap();
}

fn read(config: &Value, shapes: &Shapes) -> Checkpoint {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), config, shapes);
    survey(directory.path(), None).unwrap()
}

fn weights(checkpoint: &Checkpoint, engine: Engine) -> u64 {
    let request = Request { engine, ..Request::torch(checkpoint.stored_dtype, 16, 1) };
    let sized = size_for(checkpoint, &request).unwrap();
    sized.components.iter().find(|part| part.name == "weights").unwrap().bytes
}

fn gptq_8(output: u64, input: u64) -> Vec<(&'static str, &'static str, Vec<u64>)> {
    let groups = input.div_ceil(64);
    vec![
        ("qweight", "I32", vec![input / 4, output]),
        ("qzeros", "I32", vec![groups, output / 4]),
        ("scales", "F16", vec![groups, output]),
        ("g_idx", "I32", vec![input]),
    ]
}

fn awq_4(output: u64, input: u64) -> Vec<(&'static str, &'static str, Vec<u64>)> {
    let groups = input.div_ceil(32);
    vec![
        ("qweight", "I32", vec![input, output / 8]),
        ("qzeros", "I32", vec![groups, output / 8]),
        ("scales", "F16", vec![groups, output]),
    ]
}

fn compressed_8(output: u64, input: u64) -> Vec<(&'static str, &'static str, Vec<u64>)> {
    vec![
        ("weight_packed", "I32", vec![output, input / 4]),
        ("weight_scale", "BF16", vec![output, 1]),
        ("weight_shape", "I64", vec![2]),
    ]
}

fn blocks_8(output: u64, input: u64) -> Vec<(&'static str, &'static str, Vec<u64>)> {
    vec![
        ("weight", "F8_E4M3", vec![output, input]),
        ("weight_scale_inv", "F32", vec![output.div_ceil(128), input.div_ceil(128)]),
    ]
}

fn model_opt_8(output: u64, input: u64) -> Vec<(&'static str, &'static str, Vec<u64>)> {
    vec![("weight", "F8_E4M3", vec![output, input]), ("weight_scale", "F32", vec![]), ("input_scale", "F32", vec![])]
}

fn nv_4(output: u64, input: u64) -> Vec<(&'static str, &'static str, Vec<u64>)> {
    vec![
        ("weight", "U8", vec![output, input / 2]),
        ("weight_scale", "F8_E4M3", vec![output, input / 16]),
        ("weight_scale_2", "F32", vec![]),
        ("input_scale", "F32", vec![]),
    ]
}

fn compressed(weights: &Value, format: &str) -> Value {
    json!({"quant_method": "compressed-tensors", "format": format, "ignore": ["lm_head", "re:.*layers\\.2\\.mlp.*"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}})
}

#[test]
fn headers_and_configs_alone_say_the_same() {
    let skip = ["layers.1.mlp", "lm_head"];
    let cases: [(Value, Pack, &[&str], &str); 6] = [
        (json!({"quant_method": "gptq", "bits": 8, "group_size": 64}), gptq_8, &[], "INT8_GROUPED"),
        (
            json!({"w_bit": 4, "q_group_size": 32, "quant_method": "awq", "modules_to_not_convert": skip}),
            awq_4,
            &["layers.1.mlp"],
            "INT4_GROUPED",
        ),
        (
            compressed(
                &json!({"num_bits": 8, "strategy": "channel", "type": "int", "symmetric": true}),
                "pack-quantized",
            ),
            compressed_8,
            &["layers.2.mlp"],
            "INT8_GROUPED",
        ),
        (
            json!({"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["model.layers.0"]}),
            blocks_8,
            &["layers.0."],
            "FP8",
        ),
        (
            json!({"quant_algo": "FP8", "exclude_modules": ["lm_head"], "producer": {"name": "modelopt"}}),
            model_opt_8,
            &[],
            "FP8",
        ),
        (
            json!({"quant_algo": "NVFP4", "ignore": ["lm_head", "model.layers.*.self_attn*"]}),
            nv_4,
            &["self_attn"],
            "NVFP4",
        ),
    ];
    for (quantised, pack, plain, format) in cases {
        let (config, shapes) = (llama(&quantised), packed(pack, plain));
        let expected = bytes_of(&shapes);
        let found = read(&config, &shapes);
        let alone = survey_config(config.to_string().as_bytes()).unwrap();
        for (checkpoint, how) in [(&found, "headers"), (&alone, "config")] {
            assert_eq!(checkpoint.stored_dtype.name(), format, "{how} {quantised}");
            // Whoever asks by the name gets what is stored.
            assert_eq!(WeightDtype::parse(format), Some(checkpoint.stored_dtype), "{how} {quantised}");
            assert_eq!(checkpoint.parameter_count, parameters(), "{how} {quantised}");
            for engine in [Engine::Torch, Engine::Vllm] {
                assert_eq!(weights(checkpoint, engine), expected, "{how} {engine:?} {quantised}");
            }
        }
        assert!(found.packed_parameters > 0 && found.packed_parameters == alone.packed_parameters, "{quantised}");
        // Activations and cache stay in 16 bit.
        let request = Request { engine: Engine::Vllm, ..Request::torch(found.stored_dtype, 16, 1) };
        assert_eq!(size_for(&found, &request).unwrap().kv_bytes_per_token, LAYERS * 2 * 2 * 32 * 2, "{quantised}");
    }
}

#[test]
fn four_bit_of_bitsandbytes_keeps_what_is_skipped() {
    let pack: Pack = |output, input| {
        let runs = output * input / 64;
        vec![
            ("weight", "U8", vec![output * input / 2, 1]),
            ("weight.absmax", "U8", vec![runs]),
            ("weight.nested_absmax", "F32", vec![runs.div_ceil(256)]),
            ("weight.nested_quant_map", "F32", vec![256]),
            ("weight.quant_map", "F32", vec![16]),
            ("weight.quant_state.bitsandbytes__nf4", "U8", vec![80]),
        ]
    };
    let quantised = json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_use_double_quant": true,
        "llm_int8_skip_modules": ["lm_head", "model.layers.1.mlp"]});
    let (config, shapes) = (llama(&quantised), packed(pack, &["layers.1.mlp"]));
    let found = read(&config, &shapes);
    assert_eq!((weights(&found, Engine::Torch), found.parameter_count), (bytes_of(&shapes), parameters()));
    // The config tells all but the text that describes each matrix.
    let matrices = LAYERS * 7 - 3;
    let alone = survey_config(config.to_string().as_bytes()).unwrap();
    assert_eq!(weights(&alone, Engine::Vllm) + 80 * matrices, bytes_of(&shapes));
}

#[test]
fn a_file_beside_and_a_nested_config_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = llama(&Value::Null);
    let shapes = packed(model_opt_8, &[]);
    write(directory.path(), &config, &shapes);
    let beside = json!({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}});
    fs::write(directory.path().join("hf_quant_config.json"), beside.to_string()).unwrap();
    let found = survey(directory.path(), None).unwrap();
    assert_eq!((found.stored_dtype, found.parameter_count), (WeightDtype::Fp8, parameters()));
    assert_eq!(weights(&found, Engine::Torch), bytes_of(&shapes));
    assert!(matches!(sizing::inspect(directory.path(), None), Err(SizingError::SourceUnsupported { .. })));
    // Without a word of how, the bytes are what they are.
    fs::remove_file(directory.path().join("hf_quant_config.json")).unwrap();
    let found = survey(directory.path(), None).unwrap();
    assert_eq!((found.stored_dtype, weights(&found, Engine::Vllm)), (WeightDtype::Fp8, bytes_of(&shapes)));
    assert!(found.warnings.iter().any(|text| text.contains("no config says how")));
    // In the text model's config, of an architecture that the catalogue does not have.
    let quantised = json!({"quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 8}}}});
    config["quantization_config"] = quantised;
    let nested = json!({"architectures": ["StrangeForConditionalGeneration"], "text_config": config});
    let shapes = packed(compressed_8, &[]);
    let found = read(&nested, &shapes);
    assert_eq!((found.parameter_count, weights(&found, Engine::Vllm)), (parameters(), bytes_of(&shapes)));
}

#[test]
fn what_is_not_read_is_refused_by_name_and_sized_with_its_files() {
    for (quantised, name) in [
        (json!({"quant_method": "hqq", "nbits": 4}), "hqq"),
        (json!({"quant_method": "hush"}), "hush"),
        (json!({"quant_algo": "W4A8_AWQ"}), "modelopt"),
        (json!({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*mlp.*": {"bits": 8}}}), "gptq"),
    ] {
        let config = llama(&quantised);
        match survey_config(config.to_string().as_bytes()) {
            Err(SizingError::DtypeUnsupported { dtype, .. }) => assert_eq!(dtype, name),
            other => panic!("{quantised}: {other:?}"),
        }
        let shapes = packed(gptq_8, &[]);
        assert_eq!(weights(&read(&config, &shapes), Engine::Vllm), bytes_of(&shapes));
    }
    // Nothing is converted to a format that is only read.
    let plain = survey_config(llama(&Value::Null).to_string().as_bytes()).unwrap();
    let dtype = WeightDtype::parse("INT3_GROUPED").unwrap();
    for (_, engine) in Engine::ALL {
        let request = Request { engine, ..Request::torch(dtype, 8, 1) };
        assert!(matches!(size_for(&plain, &request), Err(SizingError::EngineDtype { .. })), "{engine:?}");
    }
}

#[test]
fn ranks_hold_the_rows_of_the_layers_that_they_do_not_split() {
    let fields = [
        ("num_hidden_layers", 80),
        ("hidden_size", 8_192),
        ("num_attention_heads", 64),
        ("num_key_value_heads", 8),
        ("intermediate_size", 28_672),
        ("vocab_size", 128_256),
        ("max_position_embeddings", 8_192),
    ];
    let mut config = json!({"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"});
    for (field, value) in fields {
        config[field] = json!(value);
    }
    let checkpoint = survey_config(config.to_string().as_bytes()).unwrap();
    let request = Request { engine: Engine::Vllm, tensor_parallel: 8, ..Request::torch(WeightDtype::Int8, 1_024, 1) };
    let sized = size_for(&checkpoint, &request).unwrap();
    let part = sized.components.iter().find(|part| part.name == "weights").unwrap();
    // 80 layers of 1,024 + 2 * 128 rows of queries, keys and values, 8,192 of the output, 2 * 3,584 and 8,192 of the MLP.
    assert!(part.inputs.contains(&("rows", 1_986_560)), "{:?}", part.inputs);
}
