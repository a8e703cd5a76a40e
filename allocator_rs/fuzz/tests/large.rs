//! The worst that files of the largest size can ask for: no single allocation above the cap, however much the file claims.
//! Fuzzing does not reach these: its inputs are small.

use fuzz::capped::{CAP_BYTES, Capped, Use, measure};
use sizing::SizingError;
use sizing::index::Index;
use sizing::safetensors::{HEADER_LIMIT_BYTES, read_from};

#[global_allocator]
static ALLOCATOR: Capped = Capped;

/// A header of `bytes` bytes that repeats `part`; `{}` in it becomes a running number.
fn header(begin: &str, part: &str, end: &str, bytes: usize) -> Vec<u8> {
    let mut text = String::from(begin);
    for number in 0_u64.. {
        text += &part.replace("{}", &number.to_string());
        if text.len() + end.len() + 64 >= bytes {
            break;
        }
    }
    text += end;
    text.into_bytes()
}

fn read(text: &[u8]) -> (Result<usize, SizingError>, Use) {
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text);
    measure(|| read_from(file.as_slice(), file.len() as u64, "m").map(|tensors| tensors.len()))
}

fn largest_header() -> usize {
    usize::try_from(HEADER_LIMIT_BYTES).unwrap()
}

#[test]
fn headers_of_the_largest_size() {
    let many = r#""{}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"#;
    let last = r#""z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    let shape = (r#"{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[0"#, ",1", "]}}");
    let dtype =
        (r#"{"a":{"dtype":""#, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{}", r#"","shape":[0],"data_offsets":[0,0]}}"#);
    let escaped = (r#"{"__metadata__":{"a":""#, r"\u0041\n{}", r#""}}"#);
    let notes = (r#"{"__metadata__":{"z":"""#, r#","{}":"a""#, "}}");
    let nested = (r#"{"a":"#, "[", "");
    for (begin, part, end) in [("{", many, last), shape, dtype, escaped, notes, nested] {
        for bytes in [1 << 24, largest_header()] {
            let (found, used) = read(&header(begin, part, end, bytes));
            assert!(used.largest <= CAP_BYTES, "{begin}{part}: {} bytes at once, {found:?}", used.largest);
        }
    }
}

#[test]
fn as_many_tensors_as_are_read_are_read() {
    let entries: Vec<String> = (0..sizing::safetensors::MAX_TENSORS)
        .map(|number| format!(r#""{number}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let (found, used) = read(format!("{{{}}}", entries.join(",")).as_bytes());
    assert_eq!(found.unwrap(), sizing::safetensors::MAX_TENSORS);
    assert!(used.largest <= CAP_BYTES, "{} bytes at once", used.largest);
    let more = format!(r#"{{{},"one":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#, entries.join(","));
    let (found, _) = read(more.as_bytes());
    assert!(
        matches!(&found, Err(SizingError::HeaderInvalid { detail, .. }) if detail.contains("too many tensors")),
        "{found:?}"
    );
}

#[test]
fn indices_and_configs_of_the_largest_size() {
    let index = header(r#"{"weight_map":{"z":"b.safetensors""#, r#","{}":"b.safetensors""#, "}}", 32 << 20);
    let (found, used) = measure(|| Index::parse(&index));
    assert!(found.is_err(), "more tensors than are read");
    assert!(used.largest <= CAP_BYTES, "{} bytes at once", used.largest);
    for (begin, part, end) in [("[0", ",0", "]"), ("[[]", ",[]", "]"), (r#"{"z":0"#, r#","{}":0"#, "}"), ("", "[", "")]
    {
        let config = header(begin, part, end, 16 << 20);
        let (found, used) = measure(|| sizing::survey_config(&config).map(|_| ()));
        assert!(found.is_err());
        assert!(used.largest <= CAP_BYTES, "{begin}{part}: {} bytes at once", used.largest);
        let beyond = config.repeat(2);
        let (found, used) = measure(|| sizing::survey_config(&beyond).map(|_| ()));
        assert!(matches!(found, Err(SizingError::ConfigInvalid { .. })));
        assert!(used.peak < 4_096, "{} bytes for a refusal", used.peak);
    }
}

/// A GGUF header of keys and tensors that are written by hand.
fn gguf(tensors: u64, keys: u64, body: &[u8]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(tensors.to_le_bytes());
    file.extend(keys.to_le_bytes());
    file.extend_from_slice(body);
    file
}

fn text(word: &[u8]) -> Vec<u8> {
    [&(word.len() as u64).to_le_bytes()[..], word].concat()
}

#[test]
fn gguf_tables_of_the_largest_size() {
    let tensor = |number: u64| {
        let name = format!("{number:0255}");
        [&text(name.as_bytes())[..], &1_u32.to_le_bytes(), &0_u64.to_le_bytes(), &0_u32.to_le_bytes(), &[0; 8]].concat()
    };
    let table: Vec<u8> = (0..100_000).flat_map(tensor).collect();
    let array = [&9_u32.to_le_bytes()[..], &10_u32.to_le_bytes(), &1024_u64.to_le_bytes(), &[7; 8192]].concat();
    let keys: Vec<u8> =
        (0..4_096).flat_map(|key| [text(format!("k{key}").as_bytes()), array.clone()].concat()).collect();
    for (tensors, keys, body) in [(100_000, 0, &table), (0, 4_096, &keys)] {
        let file = gguf(tensors, keys, body);
        let (found, used) = measure(|| ::gguf::read_from(file.as_slice(), file.len() as u64 + 32).map(|_| ()));
        assert_eq!(found, Ok(()));
        assert!(used.largest <= CAP_BYTES, "{} bytes at once", used.largest);
    }
}

#[test]
fn numbers_that_ask_for_everything_get_nothing() {
    let huge = [&text(b"a")[..], &8_u32.to_le_bytes(), &(1_u64 << 40).to_le_bytes()].concat();
    let array = [&text(b"a")[..], &9_u32.to_le_bytes(), &0_u32.to_le_bytes(), &(1_u64 << 63).to_le_bytes()].concat();
    for (tensors, keys, body) in [(1 << 63, 0, vec![0; 64]), (0, 1 << 63, vec![0; 64]), (0, 1, huge), (0, 1, array)] {
        for total in [1 << 10, u64::MAX] {
            let file = gguf(tensors, keys, &body);
            let (found, used) = measure(|| ::gguf::read_from(file.as_slice(), total).map(|_| ()));
            assert!(found.is_err());
            assert!(used.peak < 4_096, "{} bytes for a refusal", used.peak);
        }
    }
    let claims = (1_u64 << 63).to_le_bytes();
    let (found, used) = measure(|| read_from(&claims[..], u64::MAX, "m").map(|_| ()));
    assert!(found.is_err() && used.peak < 4_096, "{found:?} {}", used.peak);
}
