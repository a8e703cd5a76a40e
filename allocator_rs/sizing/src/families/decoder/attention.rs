//! The parameters of attention: by heads, and through a latent vector (MLA).

use super::dims::{Dims, WHAT};
use crate::Result;
use crate::config::Fields;
use crate::families::axis;
use crate::families::blocks::{Builder, Linear, Norm};
use crate::families::style::{HeadNorm, Latent, Style};
use crate::math::{product, sum};
use crate::model::{Axis, Layers, Split};

/// Queries, keys, values, output and their norms, in the layers that are given.
pub(in crate::families) fn head_attention(
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
pub(super) fn latent_widths(defaults: &Latent, fields: &Fields) -> Result<Latent> {
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

pub(super) fn latent_attention(
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
