//! Decoders by their [`Style`]: the rules that read a row of details.

mod attention;
mod caches;
mod dims;
mod mlp;
mod parts;

use attention::latent_attention;
use caches::caches;
use dims::WHAT;
use mlp::{dense_layers, experts};

pub(super) use attention::head_attention;
pub(super) use dims::Dims;
pub(crate) use dims::marked;
pub(super) use mlp::mlp;

use super::blocks::Builder;
use super::style::{Attention, Kept, Positions, Style};
use super::{Activations, FamilyRules, axis};
use crate::Result;
use crate::architecture::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::math::{product, sum};
use crate::model::{Layers, Model, Role, Rule, Shape, Split};
use crate::steps::{Decoding, Number, decoder, evenly_routed};

/// A decoder of one style.
pub struct Decoder(pub &'static Style);

impl FamilyRules for Decoder {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        build(self.0, fields)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        let Some(kind) = self.0.step else { return generic_activations(&model.shape, workload) };
        // Layers of two kinds have a mask each, which Gemma-2 alone was compared for.
        let verified = model.caches.len() == 1 || kind == Decoding::Gemma2;
        let peak = decoder(kind, model, workload)?;
        let copies = peak.upper_bytes > peak.bytes || workload.number == Number::Bf16;
        if kind == Decoding::Mixtral && workload.number != Number::Fp32 && copies {
            // What the library copies in 16 bit follows the routing, of which only bounds are known.
            let worst_bytes = Some(peak.upper_bytes);
            return Ok(Activations { verified, worst_bytes, ..evenly_routed(kind, model, workload)?.into() });
        }
        Ok(Activations { verified, ..peak.into() })
    }

    fn is_buffer(&self, tensor: &str) -> bool {
        [".inv_freq", ".attn.bias", ".masked_bias", ".e_score_correction_bias"].iter().any(|end| tensor.ends_with(end))
    }

    fn is_unused(&self, tensor: &str) -> bool {
        tensor == "lm_head.weight"
    }

    fn part(&self, rule: &Rule, number: u64) -> Option<Rule> {
        self.0.experts.filter(|experts| experts.kept == Kept::Apart).and_then(|_| parts::part(rule, number))
    }

    fn anchor(&self) -> Option<&'static str> {
        // What a step is known of is served, and its rules' names are the files'.
        self.0.step.map(|_| "embed_tokens.weight")
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
    let inputs = vec![
        ("tokens", workload.tokens()?),
        ("e", workload.element_bytes),
        ("hidden", shape.hidden),
        ("intermediate", shape.intermediate),
        ("heads", shape.heads),
        ("head_dim", shape.head_dim),
    ];
    Ok(Activations {
        bytes,
        upper_bytes: bytes,
        formula: formula.into(),
        inputs,
        verified: false,
        whole: false,
        packed_bytes: [0, 0],
        worst_bytes: None,
    })
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
    model.buffer_elements = u64::from(style.embedding_scale);
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
