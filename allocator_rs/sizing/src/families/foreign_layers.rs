//! What the layers of an architecture outside the catalogue keep, by the fields in which configs name their layers.

use serde_json::Value;

use super::decoder::marked;
use crate::cache::{CacheGroup, CacheKind};
use crate::config::Fields;
use crate::math::{product, sum};
use crate::model::{Layers, Shape};
use crate::{Result, SizingError};

const WHAT: &str = "the cache";
/// vLLM's indexer keeps 128 values in 8 bit and a scale of 4 bytes a token: so many elements of 16 bit.
const INDEXER_ELEMENTS: u64 = 66;

/// Fields that name every layer's kind.
pub(super) const LISTS: [&str; 3] = ["layer_types", "layers_block_type", "block_types"];

/// What one layer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Full,
    Sliding,
    Chunked,
    Cross,
    State,
    /// Attention and a state (Zamba, Falcon-H1).
    Both,
    Nothing,
}

/// The caches of all layers.
pub(super) fn caches(fields: &Fields, shape: &Shape) -> Result<Vec<CacheGroup>> {
    let (heads, dim) = (shape.kv_heads, shape.head_dim);
    let full = if fields.has("kv_lora_rank") {
        let rotary = fields.index("qk_rope_head_dim", Some(0))?;
        let indexer = if fields.has("index_head_dim") { INDEXER_ELEMENTS } else { 0 };
        CacheKind::Latent { width: sum(WHAT, &[fields.count("kv_lora_rank", None)?, rotary, indexer])? }
    } else {
        CacheKind::Full { heads, key_dim: dim, value_dim: dim }
    };
    let seq2seq = fields.flag("is_encoder_decoder", false)?;
    let Some(layers) = named(fields, shape.layers)? else {
        let mut groups = vec![CacheGroup { kind: full, layers: Layers::All }];
        if seq2seq {
            let kind = CacheKind::Cross { heads, key_dim: dim, value_dim: dim };
            groups.push(CacheGroup { kind, layers: Layers::All });
        }
        return Ok(groups);
    };
    let window = fields.index("sliding_window", Some(0)).unwrap_or(0);
    let chunk = fields.index("attention_chunk_size", Some(0)).unwrap_or(0);
    let mut groups = Vec::new();
    let at = |wanted: &[Layer]| {
        marked(shape.layers, |layer| {
            usize::try_from(layer).ok().and_then(|at| layers.get(at)).is_some_and(|one| wanted.contains(one))
        })
    };
    let kinds: [(&[Layer], CacheKind); 4] = [
        (&[Layer::Full, Layer::Both], full),
        (&[Layer::Sliding], CacheKind::Sliding { heads, key_dim: dim, value_dim: dim, window }),
        (&[Layer::Chunked], CacheKind::Chunked { heads, key_dim: dim, value_dim: dim, chunk }),
        (&[Layer::Cross], CacheKind::Cross { heads, key_dim: dim, value_dim: dim }),
    ];
    for (wanted, kind) in kinds {
        // A window of no length is none.
        let kind = match kind {
            CacheKind::Sliding { window: 0, .. } | CacheKind::Chunked { chunk: 0, .. } => full,
            kind => kind,
        };
        groups.push(CacheGroup { kind, layers: at(wanted)? });
    }
    let states = at(&[Layer::State, Layer::Both])?;
    if states.count(0, shape.layers) > 0 {
        groups.push(CacheGroup { kind: state(fields, shape)?, layers: states });
    }
    groups.retain(|group| group.layers.count(0, shape.layers) > 0);
    Ok(groups)
}

/// What each layer does, where the config names it; None: all attend.
fn named(fields: &Fields, count: u64) -> Result<Option<Vec<Layer>>> {
    for field in LISTS {
        if let Ok(Some(names)) = fields.names(field) {
            return repeated(field, &names.into_iter().map(layer_of).collect::<Vec<_>>(), count).map(Some);
        }
    }
    if let Some(pattern) = fields.text("hybrid_override_pattern")? {
        let found = pattern.chars().filter(|mark| *mark != '|').map(|mark| match mark {
            'M' => Layer::State,
            '*' => Layer::Full,
            _ => Layer::Nothing,
        });
        return repeated("hybrid_override_pattern", &found.collect::<Vec<_>>(), count).map(Some);
    }
    if let Some(types) = fields.value("attn_type_list").and_then(Value::as_array) {
        let found = types.iter().map(|kind| if kind.as_u64() == Some(1) { Layer::Full } else { Layer::State });
        return repeated("attn_type_list", &found.collect::<Vec<_>>(), count).map(Some);
    }
    let each = |attends: &dyn Fn(u64) -> bool, other: Layer| -> Vec<Layer> {
        (0..count).map(|layer| if attends(layer) { Layer::Full } else { other }).collect()
    };
    if let Some(linear) = fields.nested("linear_attn_config")? {
        // Counted from one.
        let full = linear.numbers("full_attn_layers")?;
        return bounded(count).map(|()| Some(each(&|layer| full.contains(&layer.saturating_add(1)), Layer::State)));
    }
    if fields.has("attn_layer_indices") {
        let full = fields.numbers("attn_layer_indices")?;
        return bounded(count).map(|()| Some(each(&|layer| full.contains(&layer), Layer::State)));
    }
    if fields.has("full_attention_interval") {
        let period = fields.count("full_attention_interval", None)?;
        bounded(count)?;
        let nth = |layer: u64| layer.saturating_add(1).checked_rem(period) == Some(0);
        return Ok(Some(each(&nth, Layer::State)));
    }
    if fields.has("attn_layer_period") {
        let (period, offset) = (fields.count("attn_layer_period", None)?, fields.index("attn_layer_offset", Some(0))?);
        bounded(count)?;
        return Ok(Some(each(&|layer| layer.checked_rem(period) == offset.checked_rem(period), Layer::State)));
    }
    if fields.has("cross_attention_layers") {
        let cross = fields.numbers("cross_attention_layers")?;
        bounded(count)?;
        return Ok(Some(each(&|layer| !cross.contains(&layer), Layer::Cross)));
    }
    match windowed(fields, count, &each)? {
        None => unnamed(fields, count),
        found => Ok(found),
    }
}

/// Layers that no field tells apart: where there are a state's fields each layer has one, beside its attention if there is any
/// (Falcon-H1).
fn unnamed(fields: &Fields, count: u64) -> Result<Option<Vec<Layer>>> {
    let has = |names: &[&'static str]| names.iter().any(|field| fields.has(field));
    let layer =
        match (has(&["mamba_d_ssm", "mamba_d_state", "ssm_state_size"]), has(&["num_attention_heads", "n_head"])) {
            (true, true) => Layer::Both,
            (true, false) => Layer::State,
            // So are the states of Mamba's own classes called.
            (false, false) if has(&["state_size", "d_state"]) => Layer::State,
            _ => return Ok(None),
        };
    bounded(count)?;
    Ok(Some((0..count).map(|_| layer).collect()))
}

/// Every layer as full where a condition holds, and as the other kind elsewhere.
type Each<'a> = dyn Fn(&dyn Fn(u64) -> bool, Layer) -> Vec<Layer> + 'a;

/// Layers that see a window but each n-th, where the config gives both numbers.
fn windowed(fields: &Fields, count: u64, each: &Each<'_>) -> Result<Option<Vec<Layer>>> {
    let off = fields.has("use_sliding_window") && !fields.flag("use_sliding_window", true)?;
    if off || !fields.has("sliding_window") || !fields.has("sliding_window_pattern") {
        return Ok(None);
    }
    bounded(count)?;
    let Ok(period) = fields.count("sliding_window_pattern", None) else { return Ok(None) };
    let nth = |layer: u64| layer.saturating_add(1).checked_rem(period) == Some(0);
    Ok(Some(each(&nth, Layer::Sliding)))
}

fn bounded(count: u64) -> Result<()> {
    if count <= 4_096 {
        return Ok(());
    }
    let expected = "at most 4096 where layers differ";
    Err(SizingError::FieldInvalid { field: "num_hidden_layers", value: count.to_string(), expected })
}

/// One entry a layer; a pattern that is shorter is repeated (`RecurrentGemma`'s `block_types`).
fn repeated(field: &'static str, found: &[Layer], count: u64) -> Result<Vec<Layer>> {
    bounded(count)?;
    let length = u64::try_from(found.len()).unwrap_or(0);
    if length == 0 || (length != count && field != "block_types") {
        let value = format!("a list of {length}");
        return Err(SizingError::FieldInvalid { field, value, expected: "one entry a layer" });
    }
    let count = usize::try_from(count).unwrap_or(0);
    Ok(found.iter().copied().cycle().take(count).collect())
}

fn layer_of(name: &str) -> Layer {
    match name {
        "sliding_attention" | "local_attention" | "sliding" | "local" => Layer::Sliding,
        "chunked_attention" => Layer::Chunked,
        "cross_attention" => Layer::Cross,
        "hybrid" | "mamba_attention" => Layer::Both,
        "mlp" | "moe" | "dense" | "identity" => Layer::Nothing,
        other => {
            let recurs = ["mamba", "linear", "recurrent", "conv", "ssm", "delta", "kda", "rwkv", "lightning"];
            if recurs.iter().any(|part| other.contains(part)) { Layer::State } else { Layer::Full }
        }
    }
}

/// The state of one layer, by the fields of Gated `DeltaNet`, Kimi's linear attention, short convolutions, Mamba-2 and Mamba.
fn state(fields: &Fields, shape: &Shape) -> Result<CacheKind> {
    let state = |channels, kernel, matrix, groups, group_channels| CacheKind::State {
        channels,
        kernel,
        matrix,
        groups,
        group_channels,
    };
    if fields.has("linear_num_value_heads") {
        let (keys, values) =
            (fields.count("linear_num_key_heads", None)?, fields.count("linear_num_value_heads", None)?);
        let (key, value) = (fields.count("linear_key_head_dim", None)?, fields.count("linear_value_head_dim", None)?);
        let channels = sum(WHAT, &[product(WHAT, &[2, keys, key])?, product(WHAT, &[values, value])?])?;
        let kernel = fields.count("linear_conv_kernel_dim", Some(4))?;
        let pair = product(WHAT, &[2, key])?;
        return Ok(state(channels, kernel, product(WHAT, &[values, key, value])?, keys, pair));
    }
    if let Some(linear) = fields.nested("linear_attn_config")? {
        let (heads, dim) = (linear.count("num_heads", None)?, linear.count("head_dim", None)?);
        let kernel = linear.count("short_conv_kernel_size", Some(4))?;
        return Ok(state(product(WHAT, &[3, heads, dim])?, kernel, product(WHAT, &[heads, dim, dim])?, 0, 0));
    }
    if fields.has("conv_L_cache") {
        return Ok(state(fields.count("conv_dim", Some(shape.hidden))?, fields.count("conv_L_cache", None)?, 0, 0, 0));
    }
    if fields.has("lru_width") {
        let width = fields.count("lru_width", None)?;
        return Ok(state(width, fields.count("conv1d_width", Some(4))?, width, 0, 0));
    }
    if fields.has("attn_type_list") {
        return Ok(state(0, 1, product(WHAT, &[shape.heads, shape.head_dim, shape.head_dim])?, 0, 0));
    }
    mamba(fields, shape, state)
}

fn mamba(fields: &Fields, shape: &Shape, state: impl Fn(u64, u64, u64, u64, u64) -> CacheKind) -> Result<CacheKind> {
    let kernel = fields.count_any(&["mamba_d_conv", "conv_kernel", "d_conv"], Some(4))?;
    let width = fields.count_any(&["mamba_d_state", "ssm_state_size", "state_size", "d_state"], Some(16))?;
    let expanded =
        || product(WHAT, &[fields.count_any(&["mamba_expand", "expand"], Some(2)).unwrap_or(2), shape.hidden]);
    let heads = ["mamba_num_heads", "mamba_n_heads", "n_mamba_heads"];
    if !heads.iter().any(|field| fields.has(field)) {
        let inner = expanded()?;
        return Ok(state(inner, kernel, product(WHAT, &[inner, width])?, 0, 0));
    }
    let heads = fields.count_any(&heads, None)?;
    let head = fields.index_any(&["mamba_head_dim", "mamba_d_head", "mamba_headdim"], Some(0)).unwrap_or(0);
    let inner = if head > 0 { product(WHAT, &[heads, head])? } else { expanded()? };
    let groups = fields.count_any(&["n_groups", "mamba_n_groups", "mamba_ngroups"], Some(1))?;
    let pair = product(WHAT, &[2, width])?;
    let channels = sum(WHAT, &[inner, product(WHAT, &[groups, pair])?])?;
    Ok(state(channels, kernel, product(WHAT, &[inner, width])?, groups, pair))
}
