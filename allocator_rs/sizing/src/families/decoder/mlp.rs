//! The parameters behind attention: a dense MLP, or experts with the layers that have none.

use super::dims::{Dims, WHAT, is_nth};
use crate::Result;
use crate::config::Fields;
use crate::families::axis;
use crate::families::blocks::{Builder, Linear};
use crate::families::style::{Dense, Experts, Shared, Style};
use crate::math::product;
use crate::model::{Axis, Layers, Role, Split};

/// A dense MLP in the layers that are given.
pub(in crate::families) fn mlp(builder: &mut Builder, dims: &Dims, gated: bool, layers: &Layers, bias: bool) {
    let inner = axis("intermediate_size", dims.inner);
    let names = ["layers.{}.mlp.up_proj", "layers.{}.mlp.gate_proj"];
    for name in names.into_iter().take(if gated { 2 } else { 1 }) {
        builder.linear(layers, Linear { name, output: inner, input: dims.hidden(), bias, split: Split::Even });
    }
    let name = "layers.{}.mlp.down_proj";
    builder.linear(layers, Linear { name, output: dims.hidden(), input: inner, bias, split: Split::Even });
}

/// The layers with a dense MLP; None where every layer has experts.
pub(super) fn dense_layers(mixture: &Experts, dims: &Dims, fields: &Fields) -> Result<Option<Layers>> {
    let found = match mixture.dense {
        Dense::Nowhere => return Ok(None),
        Dense::First(field, default) => {
            let first = fields.index(field, Some(default))?;
            dims.marked(|layer| layer < first)?
        }
        Dense::Step => {
            let step = fields.count("decoder_sparse_step", Some(1))?;
            let only = fields.numbers("mlp_only_layers")?;
            dims.marked(|layer| !is_nth(layer, step) || only.contains(&layer))?
        }
        Dense::Listed if fields.has("moe_layers") => {
            let sparse = fields.numbers("moe_layers")?;
            dims.marked(|layer| !sparse.contains(&layer))?
        }
        Dense::Listed => {
            let step = fields.count("interleave_moe_layer_step", Some(1))?;
            dims.marked(|layer| !is_nth(layer, step))?
        }
        Dense::Ernie => {
            let begin = fields.index("moe_layer_start_index", Some(1))?;
            let end = fields.index("moe_layer_end_index", Some(dims.layers.saturating_sub(1)));
            // -1 stands for the last layer.
            let end = end.unwrap_or_else(|_| dims.layers.saturating_sub(1));
            let step = fields.count("moe_layer_interval", Some(1))?;
            dims.marked(|layer| !(begin..=end).contains(&layer) || !is_nth(layer, step))?
        }
    };
    Ok((found.count(0, dims.layers) > 0).then_some(found))
}

pub(super) fn experts(
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
fn shared_expert(builder: &mut Builder, hidden: Axis, inner: Axis, layers: &Layers, bias: bool) {
    for (name, output, input) in [
        ("layers.{}.mlp.shared_expert.gate_proj", inner, hidden),
        ("layers.{}.mlp.shared_expert.up_proj", inner, hidden),
        ("layers.{}.mlp.shared_expert.down_proj", hidden, inner),
    ] {
        builder.linear(layers, Linear { name, output, input, bias, split: Split::Even });
    }
}
