//! One function a kind of file. Each panics where the parser did what it must not.

use std::io::Read;

use sizing::index::Index;
use sizing::{Checkpoint, Engine, Request, WeightDtype, size_for, survey_config};

/// Bytes of a data section that each file claims and nobody has: whoever asks for them reads behind the header.
const DATA_BYTES: u64 = 1 << 20;

/// Counts what is read of an input.
struct Counted<'a> {
    bytes: &'a [u8],
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let done = self.bytes.read(buffer)?;
        self.read += done as u64;
        Ok(done)
    }
}

/// The header of a safetensors file; true where it was accepted.
///
/// # Panics
/// Where more was read than the length and as many bytes as it says, or where the tensors do not cover the data.
#[must_use]
pub fn safetensors(input: &[u8]) -> bool {
    let claimed = input.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    // With what the input brings as data, and with data that nobody has.
    let whole = input.len() as u64;
    let ends = [whole, whole.saturating_add(DATA_BYTES)];
    let mut accepted = false;
    for total in ends {
        let mut source = Counted { bytes: input, read: 0 };
        let found = sizing::safetensors::read_from(&mut source, total, "m");
        assert!(source.read <= claimed.saturating_add(8), "{} bytes were read of a header of {claimed}", source.read);
        if let Ok(tensors) = found {
            let data: u64 = tensors.values().map(sizing::safetensors::Tensor::bytes).sum();
            assert_eq!(data, total - 8 - claimed, "what was accepted does not cover the data");
            accepted = true;
        }
    }
    accepted
}

/// A GGUF header and what follows from it; true where it was accepted.
///
/// # Panics
/// Where more was read than the header.
#[must_use]
pub fn gguf(input: &[u8]) -> bool {
    let mut source = Counted { bytes: input, read: 0 };
    let total = input.len() as u64 + DATA_BYTES;
    let Ok(header) = ::gguf::read_from(&mut source, total) else { return false };
    assert!(source.read <= header.header_bytes, "{} bytes read of {}", source.read, header.header_bytes);
    let data = total.saturating_sub(header.header_bytes);
    assert!(header.tensors.iter().all(|tensor| tensor.begin + tensor.bytes <= data), "a tensor ends behind the file");
    sizing::survey::from_gguf(&header).is_ok_and(|found| sized(&found))
}

/// A `config.json` and its sizes for every engine; true where it was accepted.
#[must_use]
pub fn config(input: &[u8]) -> bool {
    survey_config(input).is_ok_and(|found| sized(&found))
}

/// The index of a sharded checkpoint; true where it was accepted.
///
/// # Panics
/// Where a shard would lead out of the directory.
#[must_use]
pub fn index(input: &[u8]) -> bool {
    let Ok(found) = Index::parse(input) else { return false };
    let plain = |shard: &str| !shard.contains('/') && shard != "..";
    assert!(found.shards().into_iter().all(plain), "a shard lies elsewhere");
    true
}

/// Size it with small and with the largest numbers that can be asked for.
///
/// # Panics
/// Where the parts do not add up, or a bound is below what it bounds.
fn sized(checkpoint: &Checkpoint) -> bool {
    let mut any = false;
    for (context_length, max_concurrency) in [(1, 1), (checkpoint.model.shape.max_context, 1 << 20)] {
        for (_, engine) in Engine::ALL {
            let request = Request { engine, ..Request::torch(WeightDtype::Bf16, context_length, max_concurrency) };
            let Ok(found) = size_for(checkpoint, &request) else { continue };
            if let (Ok(bytes), Ok(upper)) = (found.bytes(), found.upper_bytes()) {
                assert!(bytes <= upper, "{bytes} bytes above their bound of {upper}");
                any = true;
            }
        }
    }
    any
}
