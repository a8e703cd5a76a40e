//! GGUF files: one, or all parts of a split one.

use std::collections::BTreeMap;

use gguf::Header;

use crate::catalogue::{FOREIGN, Task};
use crate::folder::Folder;
use crate::gguf_keys::{GgufKeys, invalid};
use crate::gguf_parts::read_parts;
use crate::math::sum;
use crate::model::{Model, Shape, Tally};
use crate::{Checkpoint, Result, SizingError, WeightDtype};

/// `general.file_type` of mixtures, which no tensor's type names (llama.cpp, `llama_ftype`).
const MIXTURES: [(u64, &str); 16] = [
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (24, "IQ1_S"),
    (31, "IQ1_M"),
    (26, "IQ3_S"),
    (38, "MXFP4_MOE"),
];

/// Read a file and, where it is one part of several, the others.
///
/// What the checkpoint says each file was is of the very descriptor that its header was read from: the name may lead to another
/// file by the time that somebody else looks.
pub(crate) fn survey_gguf(folder: &Folder, name: &str) -> Result<Checkpoint> {
    let (names, header) = read_parts(folder, name)?;
    let mut checkpoint = from_gguf(&header).map_err(|error| match error {
        SizingError::Gguf { error, .. } => SizingError::Gguf { file: name.to_owned(), error },
        other => other,
    })?;
    checkpoint.contents = folder.contents(&names)?;
    checkpoint.files = names;
    Ok(checkpoint)
}

/// What a GGUF header says: its tensors' bytes win, and its keys give the cache.
///
/// # Errors
/// [`SizingError::Gguf`], [`SizingError::Overflow`].
pub fn from_gguf(header: &Header) -> Result<Checkpoint> {
    let keys = GgufKeys::of(header)?;
    if header.tensors.is_empty() {
        // A vocabulary alone, or a file that was cut: it would fit anywhere, and serve nothing.
        return Err(invalid("the tensor table", "it is empty: there are no weights"));
    }
    let projector = keys.is_projector();
    let model = if projector { projector_model(&keys)? } else { keys.model()? };
    let mut tally = Tally::default();
    let (mut stored, mut by_kind) = (0, BTreeMap::<&gguf::Kind, u64>::new());
    for tensor in &header.tensors {
        let (elements, what) = (tensor.elements(), "the stored bytes");
        stored = sum(what, &[stored, tensor.bytes])?;
        tally.parameters = sum(what, &[tally.parameters, elements])?;
        let kind = by_kind.entry(tensor.kind).or_default();
        *kind = kind.saturating_add(tensor.bytes);
        if tensor.name.starts_with("token_embd") || tensor.name.starts_with("output.") {
            tally.embedding = sum(what, &[tally.embedding, elements])?;
        } else if let [input, output] = tensor.shape.as_slice() {
            tally.linear = sum(what, &[tally.linear, elements])?;
            tally.linear_rows = sum(what, &[tally.linear_rows, *output])?;
            tally.lora_width = sum(what, &[tally.lora_width, *input, *output])?;
            tally.largest_linear = tally.largest_linear.max(elements);
        } else if tensor.shape.len() > 2 {
            tally.experts = sum(what, &[tally.experts, elements])?;
        }
    }
    let kind = by_kind.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(kind, _)| kind);
    let stored_dtype = stored_dtype(&keys, kind);
    let packed = if stored_dtype.is_quantised() { sum("the share", &[tally.linear, tally.experts])? } else { 0 };
    let task = if model.caches.is_empty() { Task::Embedding } else { Task::Generation };
    let mut warnings = Vec::new();
    if projector {
        warnings
            .push("this is a projector of images or sound (mmproj): it is loaded beside a model, not alone".to_owned());
    }
    Ok(Checkpoint {
        architecture: &FOREIGN,
        name: keys.architecture.clone(),
        task,
        parameter_count: tally.parameters,
        tally,
        stored_dtype,
        stored_bytes: stored,
        held_bytes: stored,
        packed_parameters: packed,
        stored_block: (0, 0),
        separate_head: 0,
        has_weights: true,
        put_together: false,
        files: Vec::new(),
        contents: Vec::new(),
        warnings,
        method: String::new(),
        asks_for_code: false,
        tokenizer: None,
        model,
    })
}

/// The mixture that the file names, or the type of most of its bytes.
fn stored_dtype(keys: &GgufKeys<'_>, kind: Option<&'static gguf::Kind>) -> WeightDtype {
    let mixture =
        keys.plain("general.file_type").and_then(|number| MIXTURES.iter().find(|(known, _)| *known == number));
    match (kind.map(|kind| kind.name), mixture) {
        (None | Some("F32"), _) => WeightDtype::Fp32,
        (Some("F16"), _) => WeightDtype::Fp16,
        (Some("BF16"), _) => WeightDtype::Bf16,
        (_, Some((_, name))) if WeightDtype::parse(name).is_some() => {
            WeightDtype::parse(name).unwrap_or(WeightDtype::Fp16)
        }
        (Some(name), _) => WeightDtype::parse(name).unwrap_or(WeightDtype::Fp16),
    }
}

/// A projector has no text to keep anything of.
fn projector_model(keys: &GgufKeys<'_>) -> Result<Model> {
    let number = |key: &str| keys.plain_number(key, 1).map(|number| number.max(1));
    let shape = Shape {
        hidden: number("clip.vision.embedding_length")?,
        layers: number("clip.vision.block_count")?,
        layers_field: "block_count",
        heads: number("clip.vision.attention.head_count")?,
        kv_heads: 0,
        head_dim: 0,
        intermediate: number("clip.vision.feed_forward_length")?,
        vocabulary: 1,
        max_context: 2_048,
        labels: 0,
        tied: false,
        buffer_bytes: 0,
    };
    Ok(Model::new(shape, Vec::new(), None))
}
