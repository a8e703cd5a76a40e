//! Throws mutated files at the three parsers for so many seconds, from a kept corpus, and reports what it ran.
//!
//! `cargo run --release --example mutate -- TARGET SECONDS [CORPUS]`, TARGET: `safetensors`, `gguf`, `config`, `index`.
//! It needs no nightly compiler and sees no coverage: inputs are spliced, cut, repeated and overwritten with the numbers that
//! break parsers. It ends with 101 at the first panic, as any Rust program does, and where one read is beyond 64 MiB.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test program fails by panicking"
)]

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use sizing::index::Index;
use sizing::{Request, WeightDtype, size_for, survey_config};

/// No parser may ask for more than this beside its input.
const LARGEST_READ: u64 = 64 * 1024 * 1024;
const NUMBERS: [u64; 10] = [0, 1, 7, 255, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 63, u64::MAX];
const WORDS: [&str; 12] =
    ["{", "}", "[[[[[[[[", "]", "\"", ":", ",", "-1", "1e999", "18446744073709551616", "Infinity", "\\u0000"];

/// A small generator of its own: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Counts what is read, so that a parser that reads behind its header shows.
struct Counted<'a> {
    bytes: &'a [u8],
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(buffer.len() as u64 <= LARGEST_READ, "one read of {} bytes", buffer.len());
        let done = self.bytes.read(buffer)?;
        self.read += done as u64;
        Ok(done)
    }
}

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(7) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 if at + 8 <= input.len() => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                input[at..at + 8].copy_from_slice(&number);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let (from, length) = (random.below(other.len()), random.below(40));
                let part = &other[from.min(other.len())..(from + length).min(other.len())];
                input.splice(at..at, part.iter().copied());
            }
            4 => {
                let word = WORDS[random.below(WORDS.len())].as_bytes();
                input.splice(at..at, word.iter().copied());
            }
            5 if at < input.len() => {
                let end = (at + random.below(24)).min(input.len());
                input.drain(at..end);
            }
            _ => {
                let end = (at + random.below(64)).min(input.len());
                let part: Vec<u8> = input[at..end].to_vec();
                input.splice(at..at, part);
            }
        }
    }
    input.truncate(1 << 20);
    input
}

/// Whether the input was accepted.
fn run(target: &str, input: &[u8]) -> bool {
    let mut source = Counted { bytes: input, read: 0 };
    // The data section may be claimed to be there: nothing of it may be asked for.
    let total = input.len() as u64 + (1 << 20);
    match target {
        "safetensors" => sizing::safetensors::read_from(&mut source, total, "m").is_ok(),
        "gguf" => gguf::read_from(&mut source, total)
            .is_ok_and(|header| sizing::survey::from_gguf(&header).is_ok_and(|found| sized(&found))),
        "config" => survey_config(input).is_ok_and(|found| sized(&found)),
        "index" => Index::parse(input).is_ok(),
        other => panic!("there is no target {other}"),
    }
}

fn sized(checkpoint: &sizing::Checkpoint) -> bool {
    let engines = sizing::Engine::ALL.map(|(_, engine)| engine);
    let asked = engines.map(|engine| Request { engine, ..Request::torch(WeightDtype::Bf16, 1, 1) });
    asked.iter().filter(|request| size_for(checkpoint, request).is_ok()).count() > 0
}

fn seeds(target: &str, corpus: Option<&Path>) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = corpus
        .into_iter()
        .flat_map(|path| std::fs::read_dir(path).unwrap())
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    if target == "config" {
        found.extend(sizing::catalogue::all().map(|row| {
            format!(
                r#"{{"architectures":["{}"],"hidden_size":16,"n_embd":16,"d_model":16,"num_hidden_layers":4,"n_layer":4,
                "n_layers":4,"num_layers":4,"num_attention_heads":4,"n_head":4,"n_heads":4,"num_heads":4,"attention_heads":4,
                "intermediate_size":4,"vocab_size":4,"max_position_embeddings":64,"n_positions":64,"head_dim":16,"d_ff":4}}"#,
                row.name
            )
            .into_bytes()
        }));
    }
    if found.is_empty() {
        found.push(b"\x10\0\0\0\0\0\0\0{\"a\":7}         ".to_vec());
        found.push(br#"{"weight_map":{"a":"b.safetensors"}}"#.to_vec());
        found.push(b"GGUF\x03\0\0\0".to_vec());
    }
    found
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, rest @ ..] = arguments.as_slice() else {
        panic!("usage: mutate TARGET SECONDS [CORPUS]");
    };
    let corpus = seeds(target, rest.first().map(Path::new));
    let (mut random, mut kept) = (Random(0x9e37_79b9_7f4a_7c15), corpus.clone());
    let (begin, limit) = (Instant::now(), Duration::from_secs(seconds.parse().unwrap()));
    let (mut runs, mut accepted, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    while begin.elapsed() < limit {
        for _ in 0..256 {
            let input = mutate(&mut random, &kept);
            let started = Instant::now();
            let passed = run(target, &input);
            slowest = slowest.max(started.elapsed());
            runs += 1;
            accepted += u64::from(passed);
            // What is still accepted after a change leads further in than what is refused at once.
            if passed && kept.len() < 4_096 && random.below(16) == 0 {
                kept.push(input);
            }
        }
    }
    println!(
        "{target}: {runs} inputs in {:.0} s, {accepted} accepted, corpus {} -> {}, slowest {:.1} ms, no panic",
        begin.elapsed().as_secs_f64(),
        corpus.len(),
        kept.len(),
        slowest.as_secs_f64() * 1e3
    );
}
