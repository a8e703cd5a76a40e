//! Safetensors headers: every way to be malformed has its own error, and no bytes make the parser panic.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use proptest::prelude::*;
use sizing::SizingError;
use sizing::safetensors::{HEADER_LIMIT_BYTES, MAX_HEADERS_BYTES, Tensors, read_from, read_header_within};

fn file(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data_bytes, 0);
    bytes
}

fn read(bytes: &[u8]) -> Result<Tensors, SizingError> {
    read_from(bytes, bytes.len() as u64, "m.safetensors")
}

fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn header(entries: &[String]) -> String {
    format!("{{{}}}", entries.join(","))
}

#[test]
fn reads_what_is_well_formed() {
    let metadata = r#""__metadata__":{"format":"pt"}"#.to_owned();
    let text = header(&[metadata, entry("b", "BF16", "[3]", 8, 14), entry("a", "F32", "[2,1]", 0, 8)]) + "   ";
    let tensors = read(&file(&text, 14)).unwrap();
    assert_eq!(tensors.len(), 2);
    assert_eq!((tensors["a"].elements(), tensors["a"].bytes(), tensors["b"].bytes()), (2, 8, 6));
}

#[test]
fn scalars_and_empty_tensors_are_tensors() {
    let text = header(&[entry("a", "F32", "[]", 0, 4), entry("b", "I64", "[0,7]", 4, 4)]);
    let tensors = read(&file(&text, 4)).unwrap();
    assert_eq!((tensors["a"].elements(), tensors["b"].elements()), (1, 0));
}

#[test]
fn a_length_of_two_to_the_63_is_refused_before_anything_is_allocated() {
    let mut bytes = (1_u64 << 63).to_le_bytes().to_vec();
    bytes.extend_from_slice(b"{}");
    assert!(matches!(
        read(&bytes),
        Err(SizingError::HeaderTruncated { claimed: 0x8000_0000_0000_0000, available: 2, .. })
    ));
}

#[test]
fn all_files_have_a_bound_of_header_bytes_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.safetensors");
    let text = header(&[entry("a", "F32", "[]", 0, 4)]);
    std::fs::write(&path, file(&text, 4)).unwrap();
    let mut left = 2 * text.len() as u64 + 1;
    let mut read = || read_header_within(std::fs::File::open(&path).unwrap(), "m.safetensors", &mut left);
    assert_eq!((read().unwrap().len(), read().unwrap().len()), (1, 1));
    let error = read().unwrap_err();
    assert!(matches!(error, SizingError::FilesTooLarge { limit: MAX_HEADERS_BYTES, .. }), "{error}");
    assert_eq!(left, 1);
}

#[test]
fn a_length_over_the_cap_is_refused_although_the_file_is_long_enough() {
    let bytes = (HEADER_LIMIT_BYTES + 1).to_le_bytes();
    let found = read_from(&bytes[..], u64::MAX, "m");
    assert!(matches!(found, Err(SizingError::HeaderTooLarge { .. })));
}

#[test]
fn each_fault_has_its_own_error() {
    let good = entry("a", "F32", "[2]", 0, 8);
    let case = |entries: &[String], data: usize| read(&file(&header(entries), data));
    let overlap = case(&[good.clone(), entry("b", "F32", "[2]", 4, 12)], 12);
    assert!(matches!(overlap, Err(SizingError::TensorOverlap { .. })));
    let gap = case(&[good.clone(), entry("b", "F32", "[1]", 12, 16)], 16);
    assert!(matches!(gap, Err(SizingError::TensorGap { bytes: 4, .. })));
    assert!(matches!(case(std::slice::from_ref(&good), 9), Err(SizingError::TensorGap { bytes: 1, .. })));
    assert!(matches!(
        case(std::slice::from_ref(&good), 7),
        Err(SizingError::TensorOverrun { end: 8, available: 7, .. })
    ));
    let cut = case(std::slice::from_ref(&good), 7).unwrap_err().to_string();
    assert!(cut.starts_with("m.safetensors: tensor a ends at byte 8 of 7"), "{cut}");
    assert!(matches!(case(&[entry("a", "F31", "[2]", 0, 8)], 8), Err(SizingError::DtypeUnknown { .. })));
    assert!(matches!(
        case(&[entry("a", "F32", "[3]", 0, 8)], 8),
        Err(SizingError::TensorSize { expected: 12, found: 8, .. })
    ));
    assert!(matches!(case(&[entry("a", "F32", "[2]", 8, 0)], 8), Err(SizingError::TensorSize { .. })));
    assert!(matches!(case(&[good.clone(), good], 8), Err(SizingError::TensorDuplicate { .. })));
    let huge = entry("a", "F32", "[4294967296,4294967296]", 0, 8);
    assert!(matches!(case(&[huge], 8), Err(SizingError::Overflow { .. })));
}

#[test]
fn tensors_out_of_order_are_checked_as_well() {
    let first = entry("b", "F32", "[2]", 8, 16);
    let case = |entries: &[String], data: usize| read(&file(&header(entries), data));
    let found = case(&[first.clone(), entry("a", "F32", "[2]", 0, 8)], 16);
    assert_eq!(found.unwrap().len(), 2);
    let gap = case(&[first.clone(), entry("a", "F32", "[1]", 0, 4)], 16);
    assert!(matches!(gap, Err(SizingError::TensorGap { bytes: 4, .. })));
    let overlap = case(&[first, entry("a", "F32", "[3]", 0, 12)], 16);
    assert!(matches!(overlap, Err(SizingError::TensorOverlap { .. })));
    let twice = [entry("a", "F32", "[2]", 0, 8), entry("a", "F32", "[2]", 8, 16)];
    assert!(matches!(case(&twice, 16), Err(SizingError::TensorDuplicate { .. })));
    let axes = entry("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1);
    assert!(matches!(case(&[axes], 1), Err(SizingError::Overflow { .. })));
}

#[test]
fn json_that_is_no_header_is_invalid() {
    let deep = format!(r#"{{"a":{}"#, "[".repeat(10_000));
    let unknown = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}"#;
    let negative = r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    let number = r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#;
    for text in ["", "[]", "null", "{", "{}x", "\u{0}", &deep, unknown, negative, number, r#"{"a":7}"#] {
        let found = read(&file(text, 4));
        assert!(matches!(found, Err(SizingError::HeaderInvalid { .. })), "{text:.40}: {found:?}");
    }
}

#[test]
fn cut_at_every_byte_it_is_an_error_and_no_panic() {
    let text = header(&[entry("a", "F32", "[2]", 0, 8), entry("b", "F16", "[2]", 8, 12)]);
    let whole = file(&text, 12);
    assert!(read(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&file(&String::from_utf8_lossy(&bytes), 16));
    }

    #[test]
    fn random_entries_never_panic_and_what_passes_covers_the_data(
        entries in proptest::collection::vec(
            ("[a-c]{1,2}", prop_oneof!["F32", "BF16", "I64", "F4", "X"],
             proptest::collection::vec(any::<u64>().prop_map(|x| x >> (x % 64)), 0..4), 0_u64..40, any::<u64>()),
            0..4),
        data in 0_usize..64,
    ) {
        let texts: Vec<_> = entries
            .iter()
            .map(|(name, dtype, shape, begin, length)| {
                entry(name, dtype, &format!("{shape:?}"), *begin, begin.saturating_add(length % 40))
            })
            .collect();
        if let Ok(tensors) = read(&file(&header(&texts), data)) {
            let covered: u64 = tensors.values().map(sizing::safetensors::Tensor::bytes).sum();
            prop_assert_eq!(covered, data as u64);
        }
    }

    #[test]
    fn one_changed_byte_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut whole = file(&header(&[entry("a", "F32", "[2]", 0, 8), entry("b", "F16", "[2]", 8, 12)]), 12);
        let index = at.index(whole.len());
        whole[index] = to;
        let _ = read(&whole);
    }
}
