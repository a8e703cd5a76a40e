//! What a tensor of a packed checkpoint stands for: parameters, packed parameters, or what belongs to these.

use crate::StoredDtype;
use crate::safetensors::{Tensor, Tensors};

/// Last parts of names of what is kept beside packed values: scales, zeros, orders and tables.
const BESIDE: [&str; 37] = [
    "weight_scale",
    "weight_scale_inv",
    "weight_scale_2",
    "weight_zero_point",
    "weight_g_idx",
    "weight_shape",
    "weight_global_scale",
    "weight_scb",
    "weight_format",
    "weight_zero",
    "weight_bitmask",
    "weight_offset",
    "input_scale",
    "input_scale_ub",
    "input_zero_point",
    "input_global_scale",
    "input_offset",
    "output_scale",
    "output_zero_point",
    "scales",
    "scale_inv",
    "qzeros",
    "g_idx",
    "SCB",
    "absmax",
    "quant_map",
    "nested_absmax",
    "nested_quant_map",
    "k_scale",
    "v_scale",
    "q_scale",
    "kv_scale",
    "prob_output_scale",
    "row_offsets",
    "bitmask",
    "pre_quant_scale",
    "weights_scaling_factor",
];
/// Last parts of names that mean this only beside packed values of one module.
const BESIDE_OF: [(&str, &[&str]); 8] = [
    ("biases", &["weight"]),
    ("scale", &["W_q"]),
    ("zero", &["W_q"]),
    ("meta", &["W_q"]),
    ("zeros", &["W_q", "qweight"]),
    ("weight_zero_point", &["weight_qdata", "weight"]),
    ("weight_scale", &["weight_qdata", "weight"]),
    ("weight_act_per_tensor_scale", &["weight_qdata"]),
];

/// What a tensor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Parameters as they are.
    Plain(u64),
    /// So many parameters, packed.
    Packed(u64),
    /// Scales, zeros and the like: bytes, and no parameters.
    Beside,
}

/// Tell what one tensor stands for. `bits`: of one packed value.
pub(crate) fn meaning(name: &str, tensor: &Tensor, tensors: &Tensors, bits: u64) -> Meaning {
    let (stem, last) = name.rsplit_once('.').unwrap_or(("", name));
    let sibling = |other: &str| tensors.get(&format!("{stem}.{other}"));
    let fused = last.strip_suffix("_scales").or(last.strip_suffix("_scale")).or(last.strip_suffix("_scale_inv"));
    let of_fused = fused.is_some_and(|base| sibling(base).is_some() || sibling(&format!("{base}_blocks")).is_some());
    let conditional = BESIDE_OF.iter().any(|(end, of)| *end == last && of.iter().any(|other| sibling(other).is_some()));
    if BESIDE.contains(&last) || of_fused || conditional || name.contains(".quant_state.") {
        return Meaning::Beside;
    }
    let elements = tensor.elements();
    let stored = tensor.dtype.bits();
    match tensor.dtype {
        StoredDtype::F16 | StoredDtype::Bf16 | StoredDtype::F32 | StoredDtype::F64 => Meaning::Plain(elements),
        StoredDtype::U8 | StoredDtype::I32 | StoredDtype::U32 | StoredDtype::I16 | StoredDtype::U16 => {
            Meaning::Packed(unpacked(last, tensor, sibling("g_idx"), bits, stored).unwrap_or(elements))
        }
        // Indices, masks and counters.
        StoredDtype::I64 | StoredDtype::U64 | StoredDtype::Bool | StoredDtype::C64 => Meaning::Beside,
        _ => Meaning::Packed(elements),
    }
}

/// Values in words: by GPTQ's own order of inputs where it is there, else by their bits.
fn unpacked(last: &str, tensor: &Tensor, order: Option<&Tensor>, bits: u64, stored: u64) -> Option<u64> {
    if last == "qweight"
        && let (Some(order), [_, outputs]) = (order, &tensor.shape[..])
    {
        return order.elements().checked_mul(*outputs);
    }
    let elements = tensor.elements();
    if last == "qweight" {
        return elements.checked_mul(stored)?.checked_div(bits);
    }
    // Elsewhere a word holds a whole number of values.
    elements.checked_mul(stored.checked_div(bits)?.max(1))
}
