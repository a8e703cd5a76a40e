//! The inputs that fuzzing kept (`make fuzz`), once more: no panic, no read behind the header. Findings of a run end up here.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests fail by panicking")]

use std::fs;
use std::io::Read;
use std::path::Path;

use sizing::index::Index;
use sizing::{Engine, Request, WeightDtype, safetensors, size_for, survey, survey_config};

struct Counted<'a> {
    bytes: &'a [u8],
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let done = self.bytes.read(buffer)?;
        self.read += u64::try_from(done).unwrap();
        Ok(done)
    }
}

fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    assert!(!found.is_empty(), "no corpus for {target}");
    found
}

fn size(checkpoint: &sizing::Checkpoint) -> usize {
    let asked = Engine::ALL.map(|(_, engine)| Request { engine, ..Request::torch(WeightDtype::Bf16, 1, 1) });
    asked.iter().filter(|request| size_for(checkpoint, request).is_ok()).count()
}

#[test]
fn safetensors_headers() {
    let mut accepted = 0;
    for (name, input) in kept("safetensors") {
        let claimed = input.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        let mut source = Counted { bytes: &input, read: 0 };
        let found = safetensors::read_from(&mut source, u64::try_from(input.len()).unwrap(), "m");
        accepted += usize::from(found.is_ok());
        assert!(source.read <= claimed.saturating_add(8), "{name}: {} bytes of a header of {claimed}", source.read);
    }
    assert!(accepted > 0, "nothing was accepted");
}

#[test]
fn gguf_headers() {
    let mut sized = 0;
    for (name, input) in kept("gguf") {
        let mut source = Counted { bytes: &input, read: 0 };
        let found = gguf::read_from(&mut source, u64::try_from(input.len()).unwrap() + (1 << 20));
        let Ok(header) = found else { continue };
        assert!(source.read <= header.header_bytes, "{name}");
        sized += survey::from_gguf(&header).map_or(0, |checkpoint| size(&checkpoint));
    }
    assert!(sized > 0, "nothing was sized");
}

#[test]
fn configs() {
    let sized: usize = kept("config").iter().filter_map(|(_, input)| survey_config(input).ok()).map(|c| size(&c)).sum();
    assert!(sized > 0, "nothing was sized");
}

#[test]
fn indices() {
    assert!(kept("index").iter().any(|(_, input)| Index::parse(input).is_ok()));
}
