//! `make fuzz TARGETS=safetensors`
#![no_main]

use fuzz::capped::{Capped, within_cap};
use fuzz::targets;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Capped = Capped;

fuzz_target!(|input: &[u8]| {
    let _accepted = within_cap(|| targets::safetensors(input));
});
