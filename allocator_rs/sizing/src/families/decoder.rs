//! Decoders by their [`Style`]: the rules that read a row of details.

use std::sync::Arc;

use super::blocks::{Builder, Linear, Norm};
use super::style::{Attention, Dense, Experts, Flag, HeadNorm, Latent, Positions, Shared, Style, Window};
use super::{Activations, FamilyRules, axis, divide};
use crate::cache::{CacheGroup, CacheKind};
use crate::catalogue::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::math::{product, sum};
use crate::model::{Axis, Layers, Model, Role, Shape, Split};
use crate::{Result, SizingError};

/// Layers of models whose layers differ are listed one by one, so there is an end to them.
const MAX_MARKED_LAYERS: u64 = 4_096;
const WHAT: &str = "a parameter's size";
const HIDDEN: &[&str] = &["hidden_size", "n_embd", "d_model", "n_embed"];
const LAYERS: &[&str] = &["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
const HEADS: &[&str] = &["num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"];
const INNER: &[&str] = &["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"];
const CONTEXT: &[&str] = &["max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"];
/// Where a model of computed positions does not say how far it reaches.
const DEFAULT_CONTEXT: u64 = 2_048;

/// A decoder of one style.
pub struct Decoder(pub &'static Style);

impl Flag {
    /// Whether the config turns it on.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`].
    pub fn read(self, fields: &Fields) -> Result<bool> {
        match self {
            Self::Never => Ok(false),
            Self::Always => Ok(true),
            Self::Field(field, default) => fields.flag(field, default),
        }
    }
}

impl FamilyRules for Decoder {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        build(self.0, fields)
    }

    fn activations(&self, shape: &Shape, workload: &Workload) -> Result<Activations> {
        generic_activations(shape, workload)
    }

    fn is_buffer(&self, tensor: &str) -> bool {
        [".inv_freq", ".attn.bias", ".masked_bias", ".e_score_correction_bias"].iter().any(|end| tensor.ends_with(end))
    }
}

/// Where no formula was compared: residual, attention or MLP of all tokens at once, whichever is the largest.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn generic_activations(shape: &Shape, workload: &Workload) -> Result<Activations> {
    let what = "the activations";
    let inner = sum(what, &[product(what, &[4, shape.hidden])?, product(what, &[3, shape.intermediate])?])?;
    let heads = product(what, &[shape.heads, shape.head_dim])?;
    let attention = sum(what, &[product(what, &[4, shape.hidden])?, product(what, &[6, heads])?])?;
    let bytes = product(what, &[workload.tokens()?, workload.element_bytes, inner.max(attention)])?;
    let formula = "tokens*e*max(4*hidden + 3*intermediate, 4*hidden + 6*heads*head_dim)";
    Ok(Activations { bytes, formula, verified: false })
}

/// Dimensions that the rules share.
pub(super) struct Dims {
    pub hidden: u64,
    pub layers: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub head_dim: u64,
    pub inner: u64,
    pub vocabulary: u64,
    pub context: u64,
}

impl Dims {
    /// Read the fields by any of their names.
    pub fn read(style: &Style, fields: &Fields) -> Result<Self> {
        let hidden = fields.count_any(HIDDEN, None)?;
        let layers = fields.count_any(LAYERS, None)?;
        let heads = fields.count_any(HEADS, None)?;
        let kv_heads = kv_heads(style, fields, heads)?;
        let head_dim = match style.head_dim {
            _ if fields.has("head_dim") => fields.count("head_dim", None)?,
            Some(fixed) if !fields.is_null("head_dim") => fixed,
            _ => divide("num_attention_heads", hidden, heads)?,
        };
        let four = if style.inner_times_four { Some(product("n_inner", &[4, hidden])?) } else { None };
        let inner = match style.experts {
            Some(mixture) if mixture.dense == Dense::Nowhere => fields.count_any(&[mixture.width], four)?,
            _ => fields.count_any(INNER, four)?,
        };
        let context = match style.positions {
            Positions::Table(_) => fields.count_any(CONTEXT, None)?,
            Positions::Computed => fields.count_any(CONTEXT, Some(DEFAULT_CONTEXT))?,
        };
        Ok(Self {
            hidden,
            layers,
            heads,
            kv_heads,
            head_dim,
            inner,
            vocabulary: fields.count("vocab_size", None)?,
            context,
        })
    }

    pub fn hidden(&self) -> Axis {
        axis("hidden_size", self.hidden)
    }

    pub fn query(&self) -> Result<Axis> {
        Ok(axis("num_attention_heads", product(WHAT, &[self.heads, self.head_dim])?))
    }

    pub fn key(&self) -> Result<Axis> {
        Ok(axis("num_key_value_heads", product(WHAT, &[self.kv_heads, self.head_dim])?))
    }

    /// Marks of the layers for which `holds` is true.
    pub fn marked(&self, holds: impl Fn(u64) -> bool) -> Result<Layers> {
        marked(self.layers, holds)
    }

    pub const fn shape(&self, tied: bool) -> Shape {
        Shape {
            hidden: self.hidden,
            layers: self.layers,
            layers_field: "num_hidden_layers",
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            intermediate: self.inner,
            vocabulary: self.vocabulary,
            max_context: self.context,
            labels: 0,
            tied,
            buffer_bytes: self.head_dim.saturating_div(2).saturating_mul(8),
        }
    }

    pub const fn full_cache(&self) -> CacheKind {
        CacheKind::Full { heads: self.kv_heads, key_dim: self.head_dim, value_dim: self.head_dim }
    }
}

/// Marks of the layers for which `holds` is true.
pub(crate) fn marked(layers: u64, holds: impl Fn(u64) -> bool) -> Result<Layers> {
    if layers > MAX_MARKED_LAYERS {
        let (field, value) = ("num_hidden_layers", layers.to_string());
        return Err(SizingError::FieldInvalid { field, value, expected: "at most 4096 where layers differ" });
    }
    let marks: Arc<[bool]> = (0..layers).map(holds).collect();
    Ok(if marks.iter().all(|mark| *mark) { Layers::All } else { Layers::Marked(marks) })
}

fn kv_heads(style: &Style, fields: &Fields, heads: u64) -> Result<u64> {
    let one = || fields.flag("multi_query", true).map(|one| if one { 1 } else { heads });
    let found = match style.attention {
        Attention::Falcon if fields.flag("new_decoder_architecture", false)? => {
            fields.count("num_kv_heads", Some(heads))?
        }
        Attention::MultiQuery | Attention::Falcon => one()?,
        Attention::AllHeads => heads,
        Attention::Latent(_) => return fields.count("num_key_value_heads", Some(heads)),
        Attention::Heads => match style.kv_heads {
            Some(fixed) if !fields.is_null("num_key_value_heads") => {
                fields.count("num_key_value_heads", Some(fixed))?
            }
            _ => fields.count("num_key_value_heads", Some(heads))?,
        },
    };
    divide("num_key_value_heads", heads, found)?;
    Ok(found)
}

fn build(style: &Style, fields: &Fields) -> Result<Model> {
    fields.only("add_cross_attention", &[serde_json::json!(false)])?;
    let dims = Dims::read(style, fields)?;
    let tied = fields.flag("tie_word_embeddings", style.tied)?;
    let mut builder = Builder::default();
    base(&mut builder, style, &dims);
    layer_norms(&mut builder, style, &dims, fields)?;
    match style.attention {
        Attention::Latent(defaults) => latent_attention(&mut builder, style, &dims, &defaults, fields)?,
        _ => head_attention(&mut builder, style, &dims, &Layers::All, fields)?,
    }
    let bias = style.mlp_bias.read(fields)?;
    if let Some(mixture) = style.experts {
        let dense = dense_layers(&mixture, &dims, fields)?;
        experts(&mut builder, style, &mixture, &dims, dense.as_ref(), fields)?;
        if let Some(dense) = dense {
            mlp(&mut builder, &dims, style.gated, &dense, bias);
        }
    } else {
        mlp(&mut builder, &dims, style.gated, &Layers::All, bias);
    }
    output(&mut builder, &dims, tied, style.head_bias.read(fields)?);
    let mut model = Model::new(dims.shape(tied), builder.rules, fields.dtype()?);
    model.caches = caches(style, &dims, fields)?;
    model.experts_per_token = fields.index_any(&["num_experts_per_tok", "moe_k"], Some(0))?;
    model.mtp_parameters = mtp_parameters(&model, fields)?;
    Ok(model)
}

fn base(builder: &mut Builder, style: &Style, dims: &Dims) {
    builder.embedding("embed_tokens.weight", axis("vocab_size", dims.vocabulary), dims.hidden());
    if let Positions::Table(more) = style.positions {
        let rows = axis("max_position_embeddings", dims.context.saturating_add(more));
        builder.embedding("embed_positions.weight", rows, dims.hidden());
    }
    if style.embedding_norm {
        builder.norm(&Layers::All, "embed_norm", style.norm, dims.hidden());
    }
    builder.norm(&Layers::All, "norm", style.final_norm, dims.hidden());
}

/// The output embedding, and its bias: the bias is there even where the matrix is tied.
pub(super) fn output(builder: &mut Builder, dims: &Dims, tied: bool, bias: bool) {
    let vocabulary = axis("vocab_size", dims.vocabulary);
    if !tied {
        builder.head("lm_head.weight", Role::OutputEmbedding, Split::Vocabulary, &[vocabulary, dims.hidden()]);
    }
    if bias {
        builder.head("lm_head.bias", Role::Vector, Split::Vocabulary, &[vocabulary]);
    }
}

fn layer_norms(builder: &mut Builder, style: &Style, dims: &Dims, fields: &Fields) -> Result<()> {
    const NAMES: [&str; 4] = [
        "layers.{}.input_layernorm",
        "layers.{}.post_attention_layernorm",
        "layers.{}.pre_feedforward_layernorm",
        "layers.{}.post_feedforward_layernorm",
    ];
    let count = if style.attention == Attention::Falcon { falcon_norms(fields)? } else { style.layer_norms };
    for name in NAMES.into_iter().take(usize::try_from(count).unwrap_or(0)) {
        builder.norm(&Layers::All, name, style.norm, dims.hidden());
    }
    if style.activation_parameters > 0 {
        builder.vector(&Layers::All, "layers.{}.mlp.act_fn", &[axis("hidden_act", style.activation_parameters)]);
    }
    Ok(())
}

/// Two norms a layer unless attention and MLP share one.
fn falcon_norms(fields: &Fields) -> Result<u64> {
    if !fields.flag("parallel_attn", true)? {
        return Ok(2);
    }
    let default = if fields.flag("new_decoder_architecture", false)? { 2 } else { 1 };
    Ok(fields.count("num_ln_in_parallel_attn", Some(default))?.min(2))
}

/// Queries, keys, values, output and their norms, in the layers that are given.
pub(super) fn head_attention(
    builder: &mut Builder,
    style: &Style,
    dims: &Dims,
    layers: &Layers,
    fields: &Fields,
) -> Result<()> {
    let (query, key) = (dims.query()?, dims.key()?);
    let qkv_bias = style.qkv_bias.read(fields)?;
    for (name, output, input, bias, split) in [
        ("layers.{}.self_attn.q_proj", query, dims.hidden(), qkv_bias, Split::Even),
        ("layers.{}.self_attn.k_proj", key, dims.hidden(), qkv_bias, Split::KvHeads),
        ("layers.{}.self_attn.v_proj", key, dims.hidden(), qkv_bias, Split::KvHeads),
        ("layers.{}.self_attn.o_proj", dims.hidden(), query, style.out_bias.read(fields)?, Split::Even),
    ] {
        builder.linear(layers, Linear { name, output, input, bias, split });
    }
    let HeadNorm { when, full, bias } = style.head_norm;
    if when.read(fields)? {
        let norm = if bias { Norm::WeightAndBias } else { Norm::Weight };
        let head = axis("head_dim", dims.head_dim);
        builder.norm(layers, "layers.{}.self_attn.q_norm", norm, if full { query } else { head });
        builder.norm(layers, "layers.{}.self_attn.k_norm", norm, if full { key } else { head });
    }
    if style.sinks {
        builder.vector(layers, "layers.{}.self_attn.sinks", &[axis("num_attention_heads", dims.heads)]);
    }
    Ok(())
}

/// The widths that a config gives for MLA.
fn latent_widths(defaults: &Latent, fields: &Fields) -> Result<Latent> {
    let query_rank =
        if fields.is_null("q_lora_rank") { 0 } else { fields.index("q_lora_rank", Some(defaults.query_rank))? };
    Ok(Latent {
        query_rank,
        rank: fields.count("kv_lora_rank", Some(defaults.rank))?,
        plain: fields.count("qk_nope_head_dim", Some(defaults.plain))?,
        rotary: fields.count("qk_rope_head_dim", Some(defaults.rotary))?,
        value: fields.count("v_head_dim", Some(defaults.value))?,
    })
}

fn latent_attention(
    builder: &mut Builder,
    style: &Style,
    dims: &Dims,
    defaults: &Latent,
    fields: &Fields,
) -> Result<()> {
    let widths = latent_widths(defaults, fields)?;
    let bias = style.qkv_bias.read(fields)?;
    let all = &Layers::All;
    let by_heads = |width: &[u64]| -> Result<Axis> {
        Ok(axis("num_attention_heads", product(WHAT, &[dims.heads, sum(WHAT, width)?])?))
    };
    let queries = by_heads(&[widths.plain, widths.rotary])?;
    let rank = axis("kv_lora_rank", widths.rank);
    if widths.query_rank > 0 {
        let compressed = axis("q_lora_rank", widths.query_rank);
        let name = "layers.{}.self_attn.q_a_proj";
        builder.linear(all, Linear { name, output: compressed, input: dims.hidden(), bias, split: Split::Whole });
        builder.norm(all, "layers.{}.self_attn.q_a_layernorm", Norm::Weight, compressed);
        let name = "layers.{}.self_attn.q_b_proj";
        builder.linear(all, Linear { name, output: queries, input: compressed, bias: false, split: Split::Even });
    } else {
        let name = "layers.{}.self_attn.q_proj";
        builder.linear(all, Linear { name, output: queries, input: dims.hidden(), bias: false, split: Split::Even });
    }
    let both = axis("kv_lora_rank", sum(WHAT, &[widths.rank, widths.rotary])?);
    let name = "layers.{}.self_attn.kv_a_proj_with_mqa";
    builder.linear(all, Linear { name, output: both, input: dims.hidden(), bias, split: Split::Whole });
    builder.norm(all, "layers.{}.self_attn.kv_a_layernorm", Norm::Weight, rank);
    let (name, output) = ("layers.{}.self_attn.kv_b_proj", by_heads(&[widths.plain, widths.value])?);
    builder.linear(all, Linear { name, output, input: rank, bias: false, split: Split::Even });
    let (name, input) = ("layers.{}.self_attn.o_proj", by_heads(&[widths.value])?);
    let bias = style.out_bias.read(fields)?;
    builder.linear(all, Linear { name, output: dims.hidden(), input, bias, split: Split::Even });
    Ok(())
}

/// A dense MLP in the layers that are given.
pub(super) fn mlp(builder: &mut Builder, dims: &Dims, gated: bool, layers: &Layers, bias: bool) {
    let inner = axis("intermediate_size", dims.inner);
    let names = ["layers.{}.mlp.up_proj", "layers.{}.mlp.gate_proj"];
    for name in names.into_iter().take(if gated { 2 } else { 1 }) {
        builder.linear(layers, Linear { name, output: inner, input: dims.hidden(), bias, split: Split::Even });
    }
    let name = "layers.{}.mlp.down_proj";
    builder.linear(layers, Linear { name, output: dims.hidden(), input: inner, bias, split: Split::Even });
}

/// The layers with a dense MLP; None where every layer has experts.
fn dense_layers(mixture: &Experts, dims: &Dims, fields: &Fields) -> Result<Option<Layers>> {
    let found = match mixture.dense {
        Dense::Nowhere => return Ok(None),
        Dense::First(field, default) => {
            let first = fields.index(field, Some(default))?;
            dims.marked(|layer| layer < first)?
        }
        Dense::Step => {
            let step = fields.count("decoder_sparse_step", Some(1))?;
            let only = fields.numbers("mlp_only_layers")?;
            dims.marked(|layer| layer.saturating_add(1).checked_rem(step) != Some(0) || only.contains(&layer))?
        }
        Dense::Ernie => {
            let begin = fields.index("moe_layer_start_index", Some(1))?;
            let end = fields.index("moe_layer_end_index", Some(dims.layers.saturating_sub(1)));
            // -1 stands for the last layer.
            let end = end.unwrap_or_else(|_| dims.layers.saturating_sub(1));
            let step = fields.count("moe_layer_interval", Some(1))?;
            dims.marked(|layer| {
                !(begin..=end).contains(&layer) || layer.saturating_add(1).checked_rem(step) != Some(0)
            })?
        }
    };
    Ok((found.count(0, dims.layers) > 0).then_some(found))
}

fn experts(
    builder: &mut Builder,
    style: &Style,
    mixture: &Experts,
    dims: &Dims,
    dense: Option<&Layers>,
    fields: &Fields,
) -> Result<()> {
    let sparse = match dense {
        None => Layers::All,
        Some(dense) => dims.marked(|layer| !dense.holds(layer))?,
    };
    let count = axis("num_experts", fields.count_any(mixture.count, Some(mixture.default))?);
    let width = fields.count(mixture.width, None)?;
    let inner = axis(mixture.width, product(WHAT, &[if style.gated { 2 } else { 1 }, width])?);
    let hidden = dims.hidden();
    builder.vector(&sparse, "layers.{}.mlp.gate.weight", &[count, hidden]);
    let name = "layers.{}.mlp.experts.gate_up_proj";
    builder.push(name, &sparse, Role::Experts, Split::Even, &[count, inner, hidden]);
    let narrow = axis(mixture.width, width);
    let name = "layers.{}.mlp.experts.down_proj";
    builder.push(name, &sparse, Role::Experts, Split::Even, &[count, hidden, narrow]);
    if mixture.bias {
        builder.vector(&sparse, "layers.{}.mlp.gate.bias", &[count]);
        builder.vector(&sparse, "layers.{}.mlp.experts.gate_up_proj_bias", &[count, inner]);
        builder.vector(&sparse, "layers.{}.mlp.experts.down_proj_bias", &[count, hidden]);
    }
    if mixture.correction {
        builder.vector(&sparse, "layers.{}.mlp.e_score_correction", &[count]);
    }
    shared_experts(builder, style, mixture, dims, &sparse, width, fields)
}

#[allow(clippy::too_many_arguments, reason = "the second half of `experts`, which has read all of these")]
fn shared_experts(
    builder: &mut Builder,
    style: &Style,
    mixture: &Experts,
    dims: &Dims,
    sparse: &Layers,
    width: u64,
    fields: &Fields,
) -> Result<()> {
    let hidden = dims.hidden();
    let shared = match mixture.shared {
        Shared::Nowhere => 0,
        Shared::Width(field) => fields.index(field, Some(0))?,
        Shared::Times(field) => product(WHAT, &[width, fields.index(field, Some(0))?])?,
    };
    if shared > 0 {
        let bias = style.mlp_bias.read(fields)?;
        shared_expert(builder, hidden, axis("shared_experts", shared), sparse, bias);
        if mixture.shared_gate {
            let (name, output) = ("layers.{}.mlp.shared_expert_gate", axis("shared_experts", 1));
            builder.linear(sparse, Linear { name, output, input: hidden, bias: false, split: Split::Whole });
        }
    }
    Ok(())
}

/// An expert that every token goes to.
pub(super) fn shared_expert(builder: &mut Builder, hidden: Axis, inner: Axis, layers: &Layers, bias: bool) {
    for (name, output, input) in [
        ("layers.{}.mlp.shared_expert.gate_proj", inner, hidden),
        ("layers.{}.mlp.shared_expert.up_proj", inner, hidden),
        ("layers.{}.mlp.shared_expert.down_proj", hidden, inner),
    ] {
        builder.linear(layers, Linear { name, output, input, bias, split: Split::Even });
    }
}

fn caches(style: &Style, dims: &Dims, fields: &Fields) -> Result<Vec<CacheGroup>> {
    let all = |kind| Ok(vec![CacheGroup { kind, layers: Layers::All }]);
    if let Attention::Latent(defaults) = style.attention {
        let widths = latent_widths(&defaults, fields)?;
        return all(CacheKind::Latent { width: sum(WHAT, &[widths.rank, widths.rotary])? });
    }
    let Some(window) = window(style, fields)? else { return all(dims.full_cache()) };
    let local = windowed_layers(style, dims, fields)?;
    let (heads, dim) = (dims.kv_heads, dims.head_dim);
    let sliding = CacheKind::Sliding { heads, key_dim: dim, value_dim: dim, window };
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
        Window::AllBut(_, default) => Some(default),
    };
    if fields.is_null("sliding_window") {
        return Ok(None);
    }
    let found = fields.index("sliding_window", Some(default.unwrap_or(0)))?;
    Ok((found > 0).then_some(found))
}

fn windowed_layers(style: &Style, dims: &Dims, fields: &Fields) -> Result<Layers> {
    const FIELD: &str = "layer_types";
    if let Some(types) = fields.names(FIELD)? {
        if u64::try_from(types.len()).ok() != Some(dims.layers) {
            let value = format!("a list of {}", types.len());
            return Err(SizingError::FieldInvalid { field: FIELD, value, expected: "one name a layer" });
        }
        return dims.marked(|layer| {
            usize::try_from(layer).ok().and_then(|at| types.get(at)).is_some_and(|kind| *kind == "sliding_attention")
        });
    }
    match style.window {
        Window::AllBut(period, _) => {
            let period = fields.count_any(&["sliding_window_pattern", "_sliding_window_pattern"], Some(period))?;
            dims.marked(|layer| layer.saturating_add(1).checked_rem(period) != Some(0))
        }
        Window::Late => {
            let first = fields.index("max_window_layers", Some(28))?;
            dims.marked(|layer| layer >= first)
        }
        Window::Everywhere(_) | Window::Nowhere => Ok(Layers::All),
    }
}

/// One more layer with its own projection and norms for each head that predicts a further token (DeepSeek-V3's layout).
fn mtp_parameters(model: &Model, fields: &Fields) -> Result<u64> {
    let heads = fields.index("num_nextn_predict_layers", Some(0))?;
    if heads == 0 {
        return Ok(0);
    }
    let (hidden, last) = (model.shape.hidden, model.shape.layers.saturating_sub(1));
    let projection = product(WHAT, &[2, hidden, hidden])?;
    let mut each = sum(WHAT, &[projection, product(WHAT, &[3, hidden])?])?;
    for rule in model.rules.iter().filter(|rule| rule.place == crate::model::Place::Layer && rule.layers.holds(last)) {
        each = sum(WHAT, &[each, rule.elements()?])?;
    }
    product(WHAT, &[heads, each])
}
