//! GGUF headers: every way to be malformed has its own error, and no bytes make the parser panic.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use gguf::{GgufError, HEADER, Header, Kind, Limits, TENSOR_COUNT, Value, read_from, read_within};
use proptest::prelude::*;

#[derive(Clone)]
struct Draft {
    version: u32,
    tensor_count: Option<u64>,
    keys: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32, u64)>,
    data: usize,
}

fn text(bytes: &str) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes.as_bytes()].concat()
}

fn number(kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], bytes].concat()
}

fn draft() -> Draft {
    let words = [number(9, &8_u32.to_le_bytes()), 2_u64.to_le_bytes().to_vec(), text("a"), text("bc")].concat();
    Draft {
        version: 3,
        tensor_count: None,
        keys: vec![
            ("general.architecture".to_owned(), [8_u32.to_le_bytes().to_vec(), text("llama")].concat()),
            ("llama.block_count".to_owned(), number(4, &7_u32.to_le_bytes())),
            ("tokenizer.ggml.tokens".to_owned(), words),
        ],
        tensors: vec![("a".to_owned(), vec![64, 2], 2, 0), ("b".to_owned(), vec![3], 0, 96)],
        data: 108,
    }
}

fn encode(draft: &Draft) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(draft.version.to_le_bytes());
    out.extend(draft.tensor_count.unwrap_or(draft.tensors.len() as u64).to_le_bytes());
    out.extend((draft.keys.len() as u64).to_le_bytes());
    for (name, value) in &draft.keys {
        out.extend(text(name));
        out.extend(value);
    }
    for (name, shape, kind, begin) in &draft.tensors {
        out.extend(text(name));
        out.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
        out.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(begin.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + draft.data, 0);
    out
}

fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    read_from(bytes, bytes.len() as u64)
}

fn changed(change: impl FnOnce(&mut Draft)) -> GgufError {
    let mut spoiled = draft();
    change(&mut spoiled);
    read(&encode(&spoiled)).unwrap_err()
}

#[test]
fn reads_both_versions() {
    for version in [2, 3] {
        let header = read(&encode(&Draft { version, ..draft() })).unwrap();
        assert_eq!(header.keys["llama.block_count"], Value::Unsigned(7));
        assert_eq!(header.keys["general.architecture"].as_text(), Some("llama"));
        assert_eq!(header.keys["tokenizer.ggml.tokens"], Value::Skipped(2));
        let sizes: Vec<_> = header.tensors.iter().map(|tensor| (tensor.elements(), tensor.bytes)).collect();
        assert_eq!(sizes, [(128, 72), (3, 12)]);
        assert_eq!(header.header_bytes % 32, 0);
    }
}

#[test]
fn nothing_behind_the_table_is_read() {
    let whole = encode(&draft());
    let header_bytes = read(&whole).unwrap().header_bytes;
    let cut = &whole[..usize::try_from(header_bytes).unwrap()];
    assert!(read_from(cut, whole.len() as u64).is_ok());
}

#[test]
fn each_damage_has_its_error() {
    assert!(matches!(read(b"GGML\x03\0\0\0"), Err(GgufError::MagicInvalid { .. })));
    for version in [0, 1, 4, 0x0300_0000] {
        assert!(matches!(changed(|d| d.version = version), GgufError::VersionUnsupported { .. }));
    }
    assert!(matches!(changed(|d| d.tensor_count = Some(1 << 63)), GgufError::LimitExceeded { .. }));
    assert!(matches!(changed(|d| d.tensor_count = Some(90_000)), GgufError::HeaderTruncated { .. }));
    let huge = [8_u32.to_le_bytes().to_vec(), (1_u64 << 40).to_le_bytes().to_vec()].concat();
    assert!(matches!(changed(|d| d.keys[0].1.clone_from(&huge)), GgufError::HeaderTruncated { .. }));
    assert!(matches!(changed(|d| d.tensors[0].2 = 4), GgufError::KindUnknown { id: 4, .. }));
    assert!(matches!(changed(|d| d.tensors[0].1 = vec![63, 2]), GgufError::FieldInvalid { .. }));
    assert!(matches!(changed(|d| d.tensors[0].1 = vec![1 << 40, 1 << 40]), GgufError::FieldInvalid { .. }));
    assert!(matches!(changed(|d| d.tensors[0].1 = vec![32; 5]), GgufError::LimitExceeded { .. }));
    assert!(matches!(changed(|d| d.tensors[1].3 = 64), GgufError::TensorOverlap { .. }));
    assert!(matches!(changed(|d| d.tensors[1].3 = 128), GgufError::TensorGap { bytes: 56, .. }));
    assert!(matches!(changed(|d| d.tensors[1].3 = 97), GgufError::FieldInvalid { .. }));
    assert!(matches!(changed(|d| d.data = 107), GgufError::TensorOverrun { end: 108, .. }));
    assert!(matches!(changed(|d| d.tensors[1].0 = "a".to_owned()), GgufError::Duplicate { .. }));
    assert!(matches!(changed(|d| d.keys[1].0 = "general.architecture".to_owned()), GgufError::Duplicate { .. }));
    assert!(matches!(changed(|d| d.keys[1].1 = number(13, &[0; 8])), GgufError::FieldInvalid { .. }));
    for alignment in [0_u64, 1, 24, 1 << 40] {
        let key = ("general.alignment".to_owned(), number(10, &alignment.to_le_bytes()));
        assert!(matches!(changed(|d| d.keys.push(key)), GgufError::FieldInvalid { .. }), "{alignment}");
    }
}

#[test]
fn arrays_in_arrays_end() {
    let nested: Vec<u8> =
        (0..100_000).flat_map(|_| [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat()).collect();
    let value = [9_u32.to_le_bytes().to_vec(), nested].concat();
    assert!(matches!(changed(|d| d.keys[1].1.clone_from(&value)), GgufError::FieldInvalid { .. }));
}

#[test]
fn numbers_within_two_arrays_are_skipped() {
    // Read one by one, 256 MiB of them took three seconds. That none is looked at shows in a flag which is neither true nor false.
    let flags = [7_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec(), vec![2, 2]].concat();
    let value = [&number(9, &9_u32.to_le_bytes())[..], &1_u64.to_le_bytes(), &flags].concat();
    let mut draft = draft();
    draft.keys.push(("nested".to_owned(), value));
    assert_eq!(read(&encode(&draft)).unwrap().keys["nested"], Value::Skipped(1));
    draft.keys[3].1 = [9_u32.to_le_bytes().to_vec(), flags].concat();
    assert!(matches!(read(&encode(&draft)), Err(GgufError::FieldInvalid { .. })));
}

#[test]
fn what_is_read_is_within_the_limits_that_are_given() {
    let whole = encode(&draft());
    let within = |limits| read_within(&whole[..], whole.len() as u64, limits);
    let read_bytes = read(&whole).unwrap().read_bytes;
    let limits = Limits { header_bytes: read_bytes, tensors: 2 };
    assert_eq!(within(limits).unwrap().tensors.len(), 2);
    for (less, what) in
        [(Limits { header_bytes: read_bytes - 1, ..limits }, HEADER), (Limits { tensors: 1, ..limits }, TENSOR_COUNT)]
    {
        let Err(GgufError::LimitExceeded { what: told, .. }) = within(less) else { panic!("{what}") };
        assert_eq!(told, what);
    }
}

#[test]
fn cut_at_every_byte_it_is_an_error_and_no_panic() {
    let whole = encode(&draft());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn blocks_of_every_kind() {
    for kind in &gguf::KINDS {
        assert_eq!(kind.bytes_of(&[kind.elements, 3]), Some(3 * kind.bytes));
        assert_eq!((Kind::of(kind.id), Kind::parse(kind.name)), (Some(kind), Some(kind)));
        assert_eq!(kind.bytes_of(&[kind.elements + 1]).is_some(), kind.elements == 1);
        assert_eq!(kind.bytes_of(&[u64::MAX, u64::MAX]), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = read(&[b"GGUF\x03\0\0\0", &bytes[..]].concat());
    }

    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut whole = encode(&draft());
        for (at, to) in changes {
            let index = at.index(whole.len());
            whole[index] = to;
        }
        if let Ok(header) = read(&whole) {
            let covered: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
            prop_assert!(covered <= whole.len() as u64);
        }
    }
}
