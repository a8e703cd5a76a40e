//! `config.json`: typed access to its fields, each within bounds.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::{Result, SizingError, WeightDtype, bounded_json};

/// What is read of a config at most: lists of modules that are not converted fill megabytes.
pub const CONFIG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// No dimension of a model is larger.
const MAX_DIMENSION: u64 = 1 << 31;
const MAX_SHOWN_CHARS: usize = 60;

/// A config's fields.
#[derive(Debug, Clone)]
pub struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    /// Parse a config. `serde_json` refuses what is nested deeper than 128. Python writes infinities and NaN bare, which is
    /// no JSON; they are read as null.
    ///
    /// # Errors
    /// [`SizingError::ConfigInvalid`].
    pub fn parse(text: &[u8]) -> Result<Self> {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if length > CONFIG_LIMIT_BYTES {
            let detail = format!("it has {length} bytes; at most {CONFIG_LIMIT_BYTES} are read");
            return Err(SizingError::ConfigInvalid { detail });
        }
        match bounded_json::parse(&without_infinities(text)) {
            Ok(Value::Object(map)) => Ok(Self { map }),
            Ok(_) => Err(SizingError::ConfigInvalid { detail: "it is not an object".to_owned() }),
            Err(error) => Err(SizingError::ConfigInvalid { detail: error.to_string() }),
        }
    }

    /// A field's value; None where it is missing or null.
    pub(crate) fn value(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// A field's value as it is written; None where it is missing.
    pub(crate) fn written(&self, field: &str) -> Option<&Value> {
        self.map.get(field)
    }

    /// Whether a field is there and not null.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    /// Whether there is no field at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether a field is an object.
    #[must_use]
    pub fn has_nested(&self) -> bool {
        self.map.values().any(Value::is_object)
    }

    /// Whether a field is there and says that there is nothing.
    #[must_use]
    pub fn is_null(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(Value::is_null)
    }

    /// A positive whole number; `default` where the field is missing.
    ///
    /// # Errors
    /// [`SizingError::FieldMissing`] without a default, [`SizingError::FieldInvalid`].
    pub fn count(&self, field: &'static str, default: Option<u64>) -> Result<u64> {
        self.number(field, default, 1, "a whole number from 1 to 2147483648")
    }

    /// As [`Fields::count`], 0 included.
    ///
    /// # Errors
    /// As [`Fields::count`].
    pub fn index(&self, field: &'static str, default: Option<u64>) -> Result<u64> {
        self.number(field, default, 0, "a whole number from 0 to 2147483648")
    }

    fn number(&self, field: &'static str, default: Option<u64>, least: u64, expected: &'static str) -> Result<u64> {
        let Some(value) = self.value(field) else {
            return default.ok_or(SizingError::FieldMissing { field });
        };
        value
            .as_u64()
            .filter(|number| (least..=MAX_DIMENSION).contains(number))
            .ok_or_else(|| SizingError::FieldInvalid { field, value: show(value), expected })
    }

    /// A positive whole number under the first of several names that is there; `default` where none is.
    ///
    /// # Errors
    /// As [`Fields::count`]; a missing field is named by the first name.
    pub fn count_any(&self, fields: &[&'static str], default: Option<u64>) -> Result<u64> {
        let field = fields.iter().find(|field| self.has(field)).or(fields.first()).copied().unwrap_or("");
        self.count(field, default)
    }

    /// As [`Fields::count_any`], 0 included.
    ///
    /// # Errors
    /// As [`Fields::count`].
    pub fn index_any(&self, fields: &[&'static str], default: Option<u64>) -> Result<u64> {
        let field = fields.iter().find(|field| self.has(field)).or(fields.first()).copied().unwrap_or("");
        self.index(field, default)
    }

    /// A list of names; None where the field is missing.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn names(&self, field: &'static str) -> Result<Option<Vec<&str>>> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let found = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        match found {
            Some(names) => Ok(Some(names)),
            None => Err(SizingError::FieldInvalid { field, value: show(value), expected: "a list of names" }),
        }
    }

    /// A list of whole numbers; empty where the field is missing.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn numbers(&self, field: &'static str) -> Result<Vec<u64>> {
        let Some(value) = self.value(field) else { return Ok(Vec::new()) };
        let found = value.as_array().and_then(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>());
        found.ok_or_else(|| SizingError::FieldInvalid {
            field,
            value: show(value),
            expected: "a list of whole numbers",
        })
    }

    /// A text; None where the field is missing.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn text(&self, field: &'static str) -> Result<Option<&str>> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(SizingError::FieldInvalid { field, value: show(other), expected: "a text" }),
        }
    }

    /// A positive finite number; `default` where the field is missing.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn factor(&self, field: &'static str, default: f64) -> Result<f64> {
        let Some(value) = self.value(field) else { return Ok(default) };
        value.as_f64().filter(|number| number.is_finite() && (0.0..=1e6).contains(number)).ok_or_else(|| {
            SizingError::FieldInvalid { field, value: show(value), expected: "a number from 0 to 1000000" }
        })
    }

    /// The fields of a nested config; None where there is none.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn nested(&self, field: &'static str) -> Result<Option<Self>> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self { map: map.clone() })),
            Some(other) => Err(SizingError::FieldInvalid { field, value: show(other), expected: "an object" }),
        }
    }

    /// These fields with another value in one of them.
    #[must_use]
    pub(crate) fn with(&self, field: &str, value: Value) -> Self {
        self.with_all([(field, value)])
    }

    /// These fields with other values in several of them.
    #[must_use]
    pub(crate) fn with_all<'a>(&self, values: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut map = self.map.clone();
        map.extend(values.into_iter().map(|(field, value)| (field.to_owned(), value)));
        Self { map }
    }

    /// These fields with a nested config in one of them.
    #[must_use]
    pub(crate) fn with_nested(&self, field: &str, nested: Self) -> Self {
        self.with(field, Value::Object(nested.map))
    }

    /// True or false; `default` where the field is missing.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn flag(&self, field: &'static str, default: bool) -> Result<bool> {
        match self.value(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(SizingError::FieldInvalid { field, value: show(other), expected: "true or false" }),
        }
    }

    /// Refuse a field that is there with another value than the ones that rules exist for.
    ///
    /// # Errors
    /// [`SizingError::FeatureUnsupported`].
    pub fn only(&self, field: &'static str, accepted: &[Value]) -> Result<()> {
        match self.value(field) {
            Some(value) if !accepted.contains(value) => {
                Err(SizingError::FeatureUnsupported { field, value: show(value) })
            }
            _ => Ok(()),
        }
    }

    /// The first name in `architectures`.
    ///
    /// # Errors
    /// [`SizingError::FieldMissing`], [`SizingError::FieldInvalid`].
    pub fn architecture(&self) -> Result<&str> {
        const FIELD: &str = "architectures";
        let value = self.value(FIELD).ok_or(SizingError::FieldMissing { field: FIELD })?;
        value.as_array().and_then(|names| names.first()).and_then(Value::as_str).ok_or_else(|| {
            SizingError::FieldInvalid { field: FIELD, value: show(value), expected: "a list with a name" }
        })
    }

    /// Labels of a classifier, as transformers counts them: `id2label`, else `num_labels`, else 2.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn labels(&self) -> Result<u64> {
        const FIELD: &str = "id2label";
        match self.value(FIELD) {
            None => self.count("num_labels", Some(2)),
            Some(Value::Object(labels)) if !labels.is_empty() => {
                u64::try_from(labels.len()).map_err(|_| SizingError::Overflow { what: "the labels" })
            }
            Some(other) => {
                Err(SizingError::FieldInvalid { field: FIELD, value: show(other), expected: "an object with labels" })
            }
        }
    }

    /// The dtype that the config gives for its weights; None where it gives none.
    ///
    /// # Errors
    /// [`SizingError::DtypeUnsupported`].
    pub fn dtype(&self) -> Result<Option<WeightDtype>> {
        let Some((field, value)) = ["dtype", "torch_dtype"].iter().find_map(|&f| self.value(f).map(|v| (f, v))) else {
            return Ok(None);
        };
        match value.as_str() {
            Some("float32" | "torch.float32") => Ok(Some(WeightDtype::Fp32)),
            Some("float16" | "torch.float16") => Ok(Some(WeightDtype::Fp16)),
            Some("bfloat16" | "torch.bfloat16") => Ok(Some(WeightDtype::Bf16)),
            _ => Err(SizingError::DtypeUnsupported {
                subject: format!("config.json: {field}"),
                dtype: show(value),
                accepted: "float32, float16, bfloat16".to_owned(),
            }),
        }
    }

    /// What a quantisation's fields call their method, shortened.
    #[must_use]
    pub fn algorithm(&self) -> String {
        let nested = self.value("quantization").unwrap_or(&Value::Null);
        let named = |field: &str| self.value(field).or_else(|| nested.get(field)).map(show);
        named("quant_method").or_else(|| named("quant_algo")).unwrap_or_else(|| "packed weights".to_owned())
    }

    /// Refuse configs that ask for repository code or that describe weights quantised before.
    ///
    /// # Errors
    /// [`SizingError::SourceUnsupported`].
    pub fn refuse_foreign(&self) -> Result<()> {
        let refuse =
            |field, detail| Err(SizingError::SourceUnsupported { file: "config.json".to_owned(), field, detail });
        if self.has("auto_map") {
            return refuse("auto_map", "it asks for the repository's own Python code, which is never run".to_owned());
        }
        for field in ["quantization_config", "compression_config", "quantization"] {
            if let Some(value) = self.value(field) {
                let method = value.get("quant_method").or_else(|| value.get("quant_algo"));
                let method = method.map_or_else(|| show(value), show);
                return refuse(field, format!("weights packed by {method} are not served by the torch engine"));
            }
        }
        Ok(())
    }
}

/// A config with Python's bare `Infinity`, `-Infinity` and `NaN` as `null`; strings are left alone.
fn without_infinities(text: &[u8]) -> Cow<'_, [u8]> {
    const BARE: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    if !BARE.iter().any(|bare| text.windows(bare.len()).any(|part| part == *bare)) {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut rest, mut quoted) = (Vec::with_capacity(text.len()), text, false);
    while let Some((&first, behind)) = rest.split_first() {
        if let Some(bare) = BARE.iter().find(|bare| !quoted && rest.starts_with(bare)) {
            kept.extend_from_slice(b"null");
            rest = rest.get(bare.len()..).unwrap_or(&[]);
            continue;
        }
        quoted ^= first == b'"';
        kept.push(first);
        rest = behind;
        if first == b'\\'
            && quoted
            && let Some((&escaped, behind)) = rest.split_first()
        {
            kept.push(escaped);
            rest = behind;
        }
    }
    Cow::Owned(kept)
}

/// A value as text, shortened.
pub(crate) fn show(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    text.chars().take(MAX_SHOWN_CHARS).collect()
}
