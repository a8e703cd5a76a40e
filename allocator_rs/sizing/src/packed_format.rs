//! Formats by method: the name, the bits of a value, and how large a matrix is where a config alone tells.

use serde_json::Value;

use crate::config::Fields;
use crate::scheme::Scheme;
use crate::{Result, WeightDtype};

/// What a method's fields say.
pub(crate) struct Reading {
    /// The method as it is written, or as the fields show it.
    pub method: String,
    /// The format's name.
    pub format: WeightDtype,
    /// Bits of one value.
    pub bits: u64,
    /// How large a matrix is, or why the files must say so.
    pub scheme: std::result::Result<Scheme, String>,
    /// Whether the output embedding is converted.
    pub head: bool,
}

type Scheming = std::result::Result<Scheme, String>;

/// Methods whose sizes only the files tell.
const BY_FILES: [&str; 16] = [
    "auto-round",
    "auto_round",
    "intel/auto-round",
    "hqq",
    "quark",
    "quanto",
    "eetq",
    "higgs",
    "vptq",
    "aqlm",
    "spqr",
    "quip",
    "fp_quant",
    "sinq",
    "squeezellm",
    "experts_int8",
];

/// Read a quantisation's fields.
///
/// # Errors
/// [`crate::SizingError::FieldInvalid`].
pub(crate) fn read(fields: &Fields) -> Result<Reading> {
    let written = fields.text("quant_method")?.unwrap_or("").to_ascii_lowercase();
    let method = if written.is_empty() { method_of(fields)? } else { written };
    let bits = fields.index_any(&["bits", "w_bit", "nbits", "num_bits"], Some(4))?;
    let made = |format, bits, scheme: Scheming| (format, bits, scheme, false);
    let (format, bits, scheme, head) = match method.as_str() {
        "gptq" | "awq" | "gptq_marlin" | "awq_marlin" => integers(&method, fields, bits)?,
        "compressed-tensors" => return compressed(method, fields),
        "fp8" | "fbgemm_fp8" => made(WeightDtype::Fp8, 8, float8(&method, fields)?),
        "modelopt" | "modelopt_fp4" | "modelopt_mixed" | "modelopt_fp8" => model_opt(fields)?,
        "mxfp4" => {
            let scheme = Scheme { experts_only: true, ..Scheme::grouped(4, 32, 8) };
            made(WeightDtype::parse("MXFP4").unwrap_or(WeightDtype::Packed("PACKED")), 4, Ok(scheme))
        }
        "bitsandbytes" => bits_and_bytes(fields)?,
        "mlx" => mlx(fields, bits)?,
        "torchao" => torch_ao(fields),
        "bitnet" => made(WeightDtype::Packed("TERNARY"), 2, Ok(Scheme { matrix_bytes: 2, ..Scheme::plain(2) })),
        other if BY_FILES.contains(&other) => {
            made(grouped(bits), bits, Err(format!("{other} is told by the files' headers alone")))
        }
        other => {
            let why = format!("the quantisation {:?} is not known", other.chars().take(60).collect::<String>());
            made(WeightDtype::Packed("PACKED"), bits, Err(why))
        }
    };
    Ok(Reading { method: method.chars().take(60).collect(), format, bits, scheme, head })
}

/// The method that fields without a `quant_method` show.
fn method_of(fields: &Fields) -> Result<String> {
    let has = |names: &[&str]| names.iter().any(|name| fields.has(name));
    let found = if has(&["quant_algo"]) {
        "modelopt"
    } else if has(&["load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type"]) {
        "bitsandbytes"
    } else if has(&["config_groups", "quantization_status"]) {
        "compressed-tensors"
    } else if has(&["w_bit", "q_group_size"]) {
        "awq"
    } else if has(&["desc_act", "damp_percent", "checkpoint_format"]) {
        "gptq"
    } else if has(&["bits"]) && has(&["group_size", "mode"]) {
        "mlx"
    } else if has(&["quant_type"]) {
        "torchao"
    } else {
        fields.text("format")?.unwrap_or("none")
    };
    Ok(found.to_owned())
}

/// GGUF has types of these names as well; the name is what a plan shows.
fn nv_fp4() -> WeightDtype {
    WeightDtype::parse("NVFP4").unwrap_or(WeightDtype::Packed("PACKED"))
}

/// The name of integers in groups.
fn grouped(bits: u64) -> WeightDtype {
    WeightDtype::Packed(match bits {
        2 => "INT2_GROUPED",
        3 => "INT3_GROUPED",
        4 => "INT4_GROUPED",
        5 => "INT5_GROUPED",
        6 => "INT6_GROUPED",
        8 => "INT8_GROUPED",
        _ => "PACKED",
    })
}

/// Inputs of a group; None: a whole row (-1, or null).
fn group_size(fields: &Fields) -> Option<u64> {
    let value = ["group_size", "q_group_size"].iter().find_map(|field| fields.value(field));
    match value {
        None => Some(128),
        Some(value) => value.as_u64().filter(|size| *size > 0),
    }
}

fn integers(method: &str, fields: &Fields, bits: u64) -> Result<(WeightDtype, u64, Scheming, bool)> {
    let group = group_size(fields);
    let format = if bits == 4 && group == Some(128) { WeightDtype::Int4 } else { grouped(bits) };
    let by_inputs = method.starts_with("gptq");
    // A scale of 16 bits and a zero of the values' own width a group.
    let scheme = Scheme {
        input_bytes: if by_inputs { 4 } else { 0 },
        ..Scheme::grouped(bits, group.unwrap_or(u64::MAX), bits.saturating_add(16))
    };
    let listed = fields.has("modules_in_block_to_quantize");
    let odd = fields.text("checkpoint_format")?.is_some_and(|format| !["gptq", "gptq_v2"].contains(&format));
    let scheme = match (listed, odd, bits) {
        (true, ..) => Err("modules_in_block_to_quantize is told by the files alone".to_owned()),
        (_, true, _) => Err("this checkpoint_format is told by the files alone".to_owned()),
        (_, _, 2..=8) => Ok(scheme),
        _ => Err(format!("{bits} bits are not known")),
    };
    Ok((format, bits, scheme, fields.flag("lm_head", false)?))
}

/// FP8 in blocks, by rows (fbgemm) or whole.
fn float8(method: &str, fields: &Fields) -> Result<Scheming> {
    if method == "fbgemm_fp8" {
        return Ok(Ok(Scheme { row_bytes: 4, ..Scheme::plain(8) }));
    }
    if fields.has("weight_block_size") {
        return Ok(match fields.numbers("weight_block_size")?.as_slice() {
            [rows, columns] => Ok(Scheme { block: Some((*rows, *columns)), block_bytes: 4, ..Scheme::plain(8) }),
            _ => Err("weight_block_size must be two numbers".to_owned()),
        });
    }
    let is_static = fields.text("activation_scheme")? == Some("static");
    Ok(Ok(Scheme { matrix_bytes: if is_static { 8 } else { 4 }, ..Scheme::plain(8) }))
}

fn model_opt(fields: &Fields) -> Result<(WeightDtype, u64, Scheming, bool)> {
    let algorithm = fields.text("quant_algo")?.unwrap_or("").to_ascii_uppercase();
    let two_scales = |scheme| Ok(Scheme { matrix_bytes: 8, ..scheme });
    let by_files = || Err(format!("quant_algo {algorithm} is told by the files alone"));
    Ok(match algorithm.as_str() {
        "FP8" => (WeightDtype::Fp8, 8, two_scales(Scheme::plain(8)), true),
        "NVFP4" => (nv_fp4(), 4, two_scales(Scheme::grouped(4, 16, 8)), true),
        name if name.starts_with("FP8") => (WeightDtype::Fp8, 8, by_files(), true),
        name if name.contains("MXFP8") => (WeightDtype::Fp8, 8, Ok(Scheme::grouped(8, 32, 8)), true),
        name if name.contains("FP4") => (nv_fp4(), 4, by_files(), true),
        name if name.contains("W4") || name.contains("INT4") => (grouped(4), 4, by_files(), true),
        name if name.contains("W8") || name.contains("INT8") => (WeightDtype::Packed("INT8_ROWS"), 8, by_files(), true),
        _ => (WeightDtype::Packed("PACKED"), 8, by_files(), true),
    })
}

fn bits_and_bytes(fields: &Fields) -> Result<(WeightDtype, u64, Scheming, bool)> {
    if fields.flag("load_in_8bit", false)? {
        let scheme = Scheme { row_bytes: 4, matrix_bytes: 1, ..Scheme::plain(8) };
        return Ok((WeightDtype::Packed("INT8_ROWS"), 8, Ok(scheme), false));
    }
    // Sixteen values of the code, and 256 of the scales' where these are quantised.
    let plain = Scheme { run: 64, run_bytes: 4, matrix_bytes: 64, ..Scheme::plain(4) };
    let double = Scheme { run: 64, run_bytes: 1, runs_shared: 256, matrix_bytes: 1_088, ..Scheme::plain(4) };
    Ok(if fields.flag("bnb_4bit_use_double_quant", false)? {
        (WeightDtype::Nf4Double, 4, Ok(double), false)
    } else {
        (WeightDtype::Nf4, 4, Ok(plain), false)
    })
}

/// MLX: a scale and a bias a group, embeddings as well; modules of other formats are objects beside the numbers.
fn mlx(fields: &Fields, bits: u64) -> Result<(WeightDtype, u64, Scheming, bool)> {
    let group = group_size(fields).unwrap_or(64);
    let scheme = match fields.text("mode")?.unwrap_or("affine") {
        "affine" => Ok(Scheme::grouped(bits, group, 32)),
        "mxfp4" | "mxfp8" | "nvfp4" => Ok(Scheme::grouped(bits, group, 8)),
        other => Err(format!("mode {:?} is not known", other.chars().take(40).collect::<String>())),
    };
    let scheme = if fields.has_nested() {
        Err("modules of several formats are told by the files alone".to_owned())
    } else {
        scheme.map(|scheme| Scheme { embeddings: true, ..scheme })
    };
    Ok((grouped(bits), bits, scheme, true))
}

fn torch_ao(fields: &Fields) -> (WeightDtype, u64, Scheming, bool) {
    let text =
        fields.value("quant_type").map(Value::to_string).unwrap_or_default().to_ascii_lowercase().replace('_', "");
    // A scale of 4 bytes a row; integers have a zero point of one byte beside (`Int8Tensor` of torchao 0.18).
    let rows = |row_bytes| Scheme { row_bytes, ..Scheme::plain(8) };
    if text.contains("int8weightonly") || text.contains("int8dynamicactivationint8weight") {
        (WeightDtype::Packed("INT8_ROWS"), 8, Ok(rows(5)), false)
    } else if text.contains("float8") {
        (WeightDtype::Fp8, 8, Ok(rows(4)), false)
    } else {
        (WeightDtype::Packed("PACKED"), 4, Err("this quant_type is told by the files alone".to_owned()), false)
    }
}

/// compressed-tensors: one group of one format is told by the config; several, and sparse ones, by the files.
fn compressed(method: String, fields: &Fields) -> Result<Reading> {
    let groups: Vec<&Value> = fields
        .value("config_groups")
        .and_then(Value::as_object)
        .map(|groups| groups.values().collect())
        .unwrap_or_default();
    let first = groups.iter().find_map(|group| group.get("weights")).filter(|weights| weights.is_object());
    let packed = groups.iter().find_map(|group| group.get("format")?.as_str()).or(fields.text("format")?).unwrap_or("");
    let number = |field: &str, default| first.and_then(|weights| weights.get(field)?.as_u64()).unwrap_or(default);
    let text = |field: &str| first.and_then(|weights| weights.get(field)?.as_str()).unwrap_or("");
    let float = text("type") == "float";
    let bits = number("num_bits", if packed.starts_with("float") || packed.starts_with("int") { 8 } else { 4 });
    let sparse =
        fields.value("sparsity_config").is_some_and(|found| found.get("format").is_some_and(|name| name != "dense"));
    let group = number("group_size", 0);
    let format = match (float, bits) {
        (true, 4) => {
            if packed.starts_with("mx") {
                WeightDtype::Packed("MXFP4_ROWS")
            } else {
                nv_fp4()
            }
        }
        (true, _) => WeightDtype::Fp8,
        (false, 8) if packed.starts_with("int") || packed.starts_with("naive") => WeightDtype::Packed("INT8_ROWS"),
        (false, 4) if group == 128 => WeightDtype::Int4,
        _ => grouped(bits),
    };
    let format = if !float && packed.starts_with("float") { WeightDtype::Fp8 } else { format };
    let one = first.filter(|_| !sparse && groups.windows(2).all(|pair| pair.first() == pair.last()));
    let scheme = match one {
        None if groups.is_empty() => Err("no config_groups say how: the files' headers alone tell".to_owned()),
        None => Err("several or sparse formats are told by the files alone".to_owned()),
        Some(weights) => compressed_scheme(packed, bits, weights, groups.first().copied()),
    };
    Ok(Reading { method, format, bits, scheme, head: true })
}

fn compressed_scheme(packed: &str, bits: u64, weights: &Value, group: Option<&Value>) -> Scheming {
    let text = |field: &str| weights.get(field).and_then(Value::as_str).unwrap_or("");
    let size = weights.get("group_size").and_then(Value::as_u64).unwrap_or(0);
    let symmetric = weights.get("symmetric").and_then(Value::as_bool).unwrap_or(true);
    let inputs = group.and_then(|group| group.get("input_activations")).filter(|inputs| inputs.is_object());
    let is_static =
        inputs.is_some_and(|inputs| inputs.get("dynamic").is_none_or(|dynamic| dynamic == &Value::Bool(false)));
    let zero_bits = if symmetric { 0 } else { bits };
    // Scales are written in the model's own 16 bit.
    let scales = |scheme: Scheme| match text("strategy") {
        "channel" => Ok(Scheme { group: u64::MAX, group_bits: zero_bits.saturating_add(16), ..scheme }),
        "group" if size > 0 => Ok(Scheme { group: size, group_bits: zero_bits.saturating_add(16), ..scheme }),
        "tensor" => Ok(Scheme { matrix_bytes: scheme.matrix_bytes.saturating_add(2), ..scheme }),
        "block" => match weights.get("block_structure").and_then(Value::as_array).map(Vec::as_slice) {
            Some([rows, columns]) => {
                Ok(Scheme { block: rows.as_u64().zip(columns.as_u64()), block_bytes: 2, ..scheme })
            }
            _ => Err("a block_structure of two numbers is needed".to_owned()),
        },
        _ => Err("its strategy is told by the files alone".to_owned()),
    };
    match packed {
        "pack-quantized" if matches!(bits, 2..=8) => {
            // Beside the words the matrix's two sizes, of 8 bytes each.
            let ordered = weights.get("actorder").is_some_and(|order| order == "group");
            let input_bytes = if ordered { 4 } else { 0 };
            scales(Scheme { word_bits: 32, matrix_bytes: 16, input_bytes, ..Scheme::plain(bits) })
        }
        "int-quantized" | "float-quantized" | "naive-quantized" if bits == 8 => {
            scales(Scheme { matrix_bytes: if is_static { 2 } else { 0 }, ..Scheme::plain(8) })
        }
        "nvfp4-pack-quantized" => {
            let matrix_bytes = if inputs.is_some() { 8 } else { 4 };
            Ok(Scheme { matrix_bytes, ..Scheme::grouped(4, 16, 8) })
        }
        "mxfp4-pack-quantized" => Ok(Scheme::grouped(4, 32, 8)),
        other => Err(format!("format {:?} is told by the files alone", other.chars().take(40).collect::<String>())),
    }
}
