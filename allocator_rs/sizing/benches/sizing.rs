//! One plan with its breakdown, its sums alone, and the header of a checkpoint with many thousand tensors.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs, reason = "a benchmark fails by panicking")]

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sizing::safetensors::read_from;
use sizing::{Engine, Request, WeightDtype, size_for, survey_config, totals_for};

const LLAMA: &str = r#"{"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "hidden_size": 4096,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
    "vocab_size": 128256, "max_position_embeddings": 131072}"#;

/// A header of `tensors` tensors of 16 bytes each.
fn header(tensors: u64) -> (Vec<u8>, u64) {
    let mut text = String::from("{");
    for index in 0..tensors {
        let comma = if index == 0 { "" } else { "," };
        let (begin, end) = (index * 16, index * 16 + 16);
        write!(
            text,
            r#"{comma}"model.layers.{index}.mlp.experts.7.down_proj.weight":{{"dtype":"BF16","shape":[2,4],"data_offsets":[{begin},{end}]}}"#
        )
        .unwrap();
    }
    text.push('}');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    let total = bytes.len() as u64 + tensors * 16;
    (bytes, total)
}

fn bench(criterion: &mut Criterion) {
    let checkpoint = survey_config(LLAMA.as_bytes()).unwrap();
    let torch = Request::torch(WeightDtype::Bf16, 8192, 8);
    let vllm = Request { engine: Engine::Vllm, tensor_parallel: 4, ..torch };
    for (name, request) in [("torch", torch), ("vllm, 4 ranks", vllm)] {
        criterion.bench_function(&format!("Llama-3.1-8B, breakdown, {name}"), |bencher| {
            bencher.iter(|| size_for(black_box(&checkpoint), black_box(&request)).unwrap());
        });
        criterion.bench_function(&format!("Llama-3.1-8B, sums, {name}"), |bencher| {
            bencher.iter(|| totals_for(black_box(&checkpoint), black_box(&request)).unwrap());
        });
    }
    criterion.bench_function("Llama-3.1-8B, config", |bencher| {
        bencher.iter(|| survey_config(black_box(LLAMA.as_bytes())).unwrap());
    });
    for tensors in [723, 10_000] {
        let (bytes, total) = header(tensors);
        criterion.bench_function(&format!("safetensors header, {tensors} tensors"), |bencher| {
            bencher.iter(|| read_from(black_box(bytes.as_slice()), total, "bench").unwrap());
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
