//! The JSON of a safetensors header, entry by entry: what it says is checked elsewhere.

use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::sizes::Sizes;
use crate::{Result, SizingError, StoredDtype};

const METADATA: &str = "__metadata__";
/// Of a dtype's name that is unknown so much is shown.
const SHOWN_CHARS: usize = 40;

/// One entry as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// The dtype, or what stands in its place.
    #[serde(deserialize_with = "dtype")]
    pub dtype: std::result::Result<StoredDtype, String>,
    pub shape: Sizes,
    pub data_offsets: (u64, u64),
}

/// Who is given the entries in the file's order, repeated names included.
pub(crate) trait Listed {
    /// Take an entry; false where there are too many.
    fn list(&mut self, name: String, raw: &Raw) -> bool;
}

/// Read all entries. `serde_json` refuses what is nested deeper than 128.
pub(crate) fn parse<'de, R: serde_json::de::Read<'de>, L: Listed>(
    mut deserializer: serde_json::Deserializer<R>,
    listed: &mut L,
    file: &str,
) -> Result<()> {
    let invalid =
        |error: serde_json::Error| SizingError::HeaderInvalid { file: file.to_owned(), detail: error.to_string() };
    deserializer.deserialize_map(Entries(listed)).map_err(invalid)?;
    deserializer.end().map_err(invalid)
}

struct Entries<'a, L>(&'a mut L);

impl<'de, L: Listed> Visitor<'de> for Entries<'_, L> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value_seed(Texts)?;
            } else if !self.0.list(name, &map.next_value()?) {
                return Err(A::Error::custom("it lists too many tensors"));
            }
        }
        Ok(())
    }
}

/// An object of texts, none of which is kept.
struct Texts;

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        // Some writers leave a null where there is no metadata; the format's own library reads it.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of texts")
    }

    fn visit_unit<E: Error>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while map.next_entry::<Text, Text>()?.is_some() {}
        Ok(())
    }
}

/// A text that is not kept.
struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        visit_text(deserializer, |_| Self)
    }
}

fn dtype<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<std::result::Result<StoredDtype, String>, D::Error> {
    visit_text(deserializer, |name| StoredDtype::parse(name).ok_or_else(|| name.chars().take(SHOWN_CHARS).collect()))
}

/// Make something of a text without a copy of it.
fn visit_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    make: impl FnOnce(&str) -> T,
) -> std::result::Result<T, D::Error> {
    struct TextVisitor<F>(F);
    impl<T, F: FnOnce(&str) -> T> Visitor<'_> for TextVisitor<F> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a text")
        }

        fn visit_str<E: Error>(self, text: &str) -> std::result::Result<T, E> {
            Ok((self.0)(text))
        }
    }
    deserializer.deserialize_str(TextVisitor(make))
}

/// A source of JSON whose texts are no longer than `limit` bytes: `serde_json` gathers a text before it hands it over.
pub(crate) struct ShortTexts<R> {
    inner: R,
    limit: u64,
    length: u64,
    quoted: bool,
    escaped: bool,
}

impl<R: Read> ShortTexts<R> {
    pub(crate) const fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, length: 0, quoted: false, escaped: false }
    }

    fn pass(&mut self, byte: u8) -> bool {
        let inside = self.quoted;
        match (self.quoted, self.escaped, byte) {
            (true, true, _) => self.escaped = false,
            (true, false, b'\\') => self.escaped = true,
            (_, _, b'"') => {
                self.quoted = !self.quoted;
                self.length = 0;
            }
            _ => {}
        }
        self.length = self.length.saturating_add(u64::from(inside && self.quoted));
        self.length <= self.limit
    }
}

impl<R: Read> Read for ShortTexts<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.inner.read(buffer)?;
        let short = buffer.iter().take(found).all(|byte| self.pass(*byte));
        if short { Ok(found) } else { Err(io::Error::other(format!("a text of more than {} bytes", self.limit))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<String> {
        let mut found = String::new();
        ShortTexts::new(text.as_bytes(), 6).read_to_string(&mut found).map(|_| found)
    }

    #[test]
    fn only_long_texts_are_refused() {
        for text in [r#"{"abcde": 1234567890}"#, r#"["a\"b\\", "", 12345678901]"#, r#""\\\\","\\""#] {
            assert_eq!(read(text).ok().as_deref(), Some(text));
        }
        for text in [r#"{"abcdefg": 1}"#, r#"["a\"b\"cd"]"#, r#"["", "abcdefgh"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
