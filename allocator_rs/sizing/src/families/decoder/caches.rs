//! What a decoder keeps of every token: which layers see all of them, and which only a window.

use serde_json::Value;

use super::attention::latent_widths;
use super::dims::{Dims, WHAT, is_nth};
use crate::cache::{CacheGroup, CacheKind};
use crate::config::Fields;
use crate::families::style::{Attention, Style, Window};
use crate::math::sum;
use crate::model::Layers;
use crate::{Result, SizingError};

const PATTERN: &str = "sliding_window_pattern";

pub(super) fn caches(style: &Style, dims: &Dims, fields: &Fields) -> Result<Vec<CacheGroup>> {
    let all = |kind| Ok(vec![CacheGroup { kind, layers: Layers::All }]);
    if let Attention::Latent(defaults) = style.attention {
        let widths = latent_widths(&defaults, fields)?;
        return all(CacheKind::Latent { width: sum(WHAT, &[widths.rank, widths.rotary])? });
    }
    let Some(window) = window(style, fields)? else { return all(dims.full_cache()) };
    let local = windowed_layers(style, dims, fields)?;
    let (heads, dim) = (dims.kv_heads, dims.head_dim);
    let sliding = match style.window {
        Window::Chunks(..) => CacheKind::Chunked { heads, key_dim: dim, value_dim: dim, chunk: window },
        _ => CacheKind::Sliding { heads, key_dim: dim, value_dim: dim, window },
    };
    let full = dims.marked(|layer| !local.holds(layer))?;
    let groups = [(sliding, local), (dims.full_cache(), full)];
    Ok(groups
        .into_iter()
        .filter(|(_, layers)| layers.count(0, dims.layers) > 0)
        .map(|(kind, layers)| CacheGroup { kind, layers })
        .collect())
}

/// Tokens of the window, None without one.
fn window(style: &Style, fields: &Fields) -> Result<Option<u64>> {
    let default = match style.window {
        Window::Nowhere => return Ok(None),
        Window::Late if !fields.flag("use_sliding_window", false)? => return Ok(None),
        Window::Late => Some(4_096),
        Window::Everywhere(default) => default,
        Window::AllBut(_, default) | Window::Chunks(_, default) => Some(default),
    };
    let field = style.window.field();
    if fields.is_null(field) {
        return Ok(None);
    }
    let found = fields.index(field, Some(default.unwrap_or(0)))?;
    Ok((found > 0).then_some(found))
}

fn windowed_layers(style: &Style, dims: &Dims, fields: &Fields) -> Result<Layers> {
    const FIELD: &str = "layer_types";
    const LOCAL: [&str; 2] = ["sliding_attention", "chunked_attention"];
    if let Some(types) = fields.names(FIELD)? {
        if u64::try_from(types.len()).ok() != Some(dims.layers) {
            let value = format!("a list of {}", types.len());
            return Err(SizingError::FieldInvalid { field: FIELD, value, expected: "one name a layer" });
        }
        return dims.marked(|layer| {
            usize::try_from(layer).ok().and_then(|at| types.get(at)).is_some_and(|kind| LOCAL.contains(kind))
        });
    }
    match style.window {
        Window::AllBut(..) if is_text(fields, PATTERN) => lettered(dims, fields),
        Window::AllBut(period, _) | Window::Chunks(period, _) => {
            let period = fields.count_any(style.window.period_fields(), Some(period))?;
            dims.marked(|layer| !is_nth(layer, period))
        }
        Window::Late => {
            let first = fields.index("max_window_layers", Some(28))?;
            dims.marked(|layer| layer >= first)
        }
        Window::Everywhere(_) | Window::Nowhere => Ok(Layers::All),
    }
}

fn is_text(fields: &Fields, field: &str) -> bool {
    fields.value(field).is_some_and(Value::is_string)
}

/// EXAONE 4's "LLLG": a letter a layer, from the first one on and over again. The last layer sees everything whatever its
/// letter, as `Exaone4Config` says.
fn lettered(dims: &Dims, fields: &Fields) -> Result<Layers> {
    let letters = fields.text(PATTERN)?.unwrap_or_default();
    if letters.is_empty() || !letters.bytes().all(|letter| matches!(letter, b'L' | b'G')) {
        let value = letters.chars().take(60).collect();
        return Err(SizingError::FieldInvalid {
            field: PATTERN,
            value,
            expected: "a whole number, or letters L and G",
        });
    }
    let letter = |layer: u64| {
        let at = usize::try_from(layer).ok()?.checked_rem(letters.len())?;
        letters.as_bytes().get(at)
    };
    dims.marked(|layer| letter(layer) == Some(&b'L') && layer.saturating_add(1) < dims.layers)
}
