//! State space models, pure (Mamba, Mamba-2, Falcon-Mamba) and hybrid (Jamba, Bamba).

use super::blocks::{Builder, Linear, Norm};
use super::decoder::{Dims, generic_activations, head_attention, marked, mlp, output};
use super::style::{Flag, LLAMA, Style};
use super::{Activations, FamilyRules, axis, divide};
use crate::architecture::Architecture;
use crate::cache::{CacheGroup, CacheKind};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::{product, sum};
use crate::model::{Axis, Layers, Model, Role, Shape, Split};
use crate::{Result, SizingError};

const WHAT: &str = "a parameter's size";
/// A state has no end of its own: contexts are limited by nothing in the config.
const UNLIMITED_CONTEXT: u64 = 1 << 20;

/// Which recurrent model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recurrent {
    /// Mamba and Falcon-Mamba (whose further norms have no weights).
    Mamba,
    /// Mamba-2.
    Mamba2,
    /// Mamba beside attention, dense MLPs beside experts.
    Jamba,
    /// Mamba-2 beside attention.
    Bamba,
}

static HYBRID: Style = Style { qkv_bias: Flag::Never, out_bias: Flag::Never, kv_heads: Some(8), ..LLAMA };
static BAMBA: Style = Style { kv_heads: Some(8), mlp_bias: Flag::Field("mlp_bias", false), ..LLAMA };

impl FamilyRules for Recurrent {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        match self {
            Self::Mamba | Self::Mamba2 => pure(*self, fields),
            Self::Jamba => jamba(fields),
            Self::Bamba => bamba(fields),
        }
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}

/// The first generation's mixer.
struct Mixer {
    hidden: Axis,
    inner: Axis,
    state: Axis,
    kernel: Axis,
    rank: Axis,
    bias: bool,
    conv_bias: bool,
}

impl Mixer {
    fn rules(&self, builder: &mut Builder, layers: &Layers) -> Result<()> {
        let Self { hidden, inner, state, kernel, rank, bias, .. } = *self;
        let (whole, even) = (Split::Whole, Split::Even);
        let twice = axis("expand", product(WHAT, &[2, inner.size])?);
        let projected = axis("time_step_rank", sum(WHAT, &[rank.size, product(WHAT, &[2, state.size])?])?);
        builder.vector(layers, "layers.{}.mixer.A_log", &[inner, state]);
        builder.vector(layers, "layers.{}.mixer.D", &[inner]);
        builder.vector(layers, "layers.{}.mixer.conv1d.weight", &[inner, kernel]);
        if self.conv_bias {
            builder.vector(layers, "layers.{}.mixer.conv1d.bias", &[inner]);
        }
        for (name, output, input, bias, split) in [
            ("layers.{}.mixer.in_proj", twice, hidden, bias, even),
            ("layers.{}.mixer.x_proj", projected, inner, false, whole),
            ("layers.{}.mixer.dt_proj", inner, rank, true, even),
            ("layers.{}.mixer.out_proj", hidden, inner, bias, even),
        ] {
            builder.linear(layers, Linear { name, output, input, bias, split });
        }
        Ok(())
    }

    fn cache(&self) -> Result<CacheKind> {
        let matrix = product(WHAT, &[self.inner.size, self.state.size])?;
        let (channels, kernel) = (self.inner.size, self.kernel.size);
        Ok(CacheKind::State { channels, kernel, matrix, groups: 0, group_channels: 0 })
    }
}

/// The second generation's mixer.
struct Mixer2 {
    hidden: Axis,
    inner: Axis,
    heads: Axis,
    kernel: Axis,
    /// Channels of the convolution: the inner width, and twice the state of every group.
    channels: Axis,
    groups: u64,
    /// Inputs and outputs of one group's state.
    group_channels: u64,
    matrix: u64,
    bias: bool,
    conv_bias: bool,
}

impl Mixer2 {
    fn rules(&self, builder: &mut Builder, layers: &Layers) -> Result<()> {
        let Self { hidden, inner, heads, kernel, channels, bias, .. } = *self;
        let input_width = axis("expand", sum(WHAT, &[inner.size, channels.size, heads.size])?);
        for name in ["layers.{}.mixer.dt_bias", "layers.{}.mixer.A_log", "layers.{}.mixer.D"] {
            builder.vector(layers, name, &[heads]);
        }
        builder.vector(layers, "layers.{}.mixer.conv1d.weight", &[channels, kernel]);
        if self.conv_bias {
            builder.vector(layers, "layers.{}.mixer.conv1d.bias", &[channels]);
        }
        let split = Split::Even;
        let name = "layers.{}.mixer.in_proj";
        builder.linear(layers, Linear { name, output: input_width, input: hidden, bias, split });
        builder.norm(layers, "layers.{}.mixer.norm", Norm::Weight, inner);
        let name = "layers.{}.mixer.out_proj";
        builder.linear(layers, Linear { name, output: hidden, input: inner, bias, split });
        Ok(())
    }

    const fn cache(&self) -> CacheKind {
        CacheKind::State {
            channels: self.channels.size,
            kernel: self.kernel.size,
            matrix: self.matrix,
            groups: self.groups,
            group_channels: self.group_channels,
        }
    }
}

/// `expand` may be a fraction; the product is rounded down as the class does.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the class multiplies as floats; both factors are bounded"
)]
fn expanded(fields: &Fields, field: &'static str, hidden: u64) -> Result<u64> {
    let inner = (fields.factor(field, 2.0)? * hidden as f64) as u64;
    if inner == 0 {
        return Err(SizingError::FieldInvalid { field, value: "0".to_owned(), expected: "a positive factor" });
    }
    Ok(inner)
}

fn mixer(fields: &Fields, hidden: u64, names: [&'static str; 7]) -> Result<Mixer> {
    let [state, kernel, expand, rank, bias, conv_bias, inner] = names;
    let default_rank = hidden.div_ceil(16);
    let automatic = fields.text(rank).is_ok_and(|text| text == Some("auto"));
    let inner = match inner {
        "" => expanded(fields, expand, hidden)?,
        field if fields.has(field) => fields.count(field, None)?,
        _ => expanded(fields, expand, hidden)?,
    };
    Ok(Mixer {
        hidden: axis("hidden_size", hidden),
        inner: axis("expand", inner),
        state: axis(state, fields.count(state, Some(16))?),
        kernel: axis(kernel, fields.count(kernel, Some(4))?),
        rank: axis(rank, if automatic { default_rank } else { fields.count(rank, Some(default_rank))? }),
        bias: fields.flag(bias, false)?,
        conv_bias: fields.flag(conv_bias, true)?,
    })
}

fn pure(kind: Recurrent, fields: &Fields) -> Result<Model> {
    let hidden = fields.count("hidden_size", None)?;
    let layers = fields.count_any(&["num_hidden_layers", "n_layer"], None)?;
    let width = axis("hidden_size", hidden);
    let vocabulary = axis("vocab_size", fields.count("vocab_size", None)?);
    let mut builder = Builder::default();
    builder.embedding("embeddings.weight", vocabulary, width);
    builder.norm(&Layers::All, "norm_f", Norm::Weight, width);
    builder.norm(&Layers::All, "layers.{}.norm", Norm::Weight, width);
    let (cache, inner, tied) = if kind == Recurrent::Mamba {
        let names =
            ["state_size", "conv_kernel", "expand", "time_step_rank", "use_bias", "use_conv_bias", "intermediate_size"];
        let mixer = mixer(fields, hidden, names)?;
        mixer.rules(&mut builder, &Layers::All)?;
        (mixer.cache()?, mixer.inner.size, true)
    } else {
        let mixer = mamba2_mixer(fields, hidden)?;
        mixer.rules(&mut builder, &Layers::All)?;
        (mixer.cache(), mixer.inner.size, false)
    };
    let tied = fields.flag("tie_word_embeddings", tied)?;
    if !tied {
        builder.head("lm_head.weight", Role::OutputEmbedding, Split::Vocabulary, &[vocabulary, width]);
    }
    let shape = Shape {
        hidden,
        layers,
        layers_field: "num_hidden_layers",
        heads: 1,
        kv_heads: 1,
        head_dim: inner,
        intermediate: inner,
        vocabulary: vocabulary.size,
        max_context: fields.count("max_position_embeddings", Some(UNLIMITED_CONTEXT))?,
        labels: 0,
        tied,
        buffer_bytes: 0,
    };
    let mut model = Model::new(shape, builder.rules, fields.dtype()?);
    model.caches = vec![CacheGroup { kind: cache, layers: Layers::All }];
    Ok(model)
}

fn mamba2_mixer(fields: &Fields, hidden: u64) -> Result<Mixer2> {
    let inner = expanded(fields, "expand", hidden)?;
    let (heads, head_dim) = (fields.count("num_heads", Some(128))?, fields.count("head_dim", Some(64))?);
    if product(WHAT, &[heads, head_dim])? != inner {
        let value = heads.to_string();
        let expected = "hidden_size times expand, shared out by head_dim";
        return Err(SizingError::FieldInvalid { field: "num_heads", value, expected });
    }
    let state = fields.count("state_size", Some(128))?;
    let groups = fields.count("n_groups", Some(8))?;
    Ok(Mixer2 {
        hidden: axis("hidden_size", hidden),
        inner: axis("expand", inner),
        heads: axis("num_heads", heads),
        kernel: axis("conv_kernel", fields.count("conv_kernel", Some(4))?),
        channels: axis("n_groups", sum(WHAT, &[inner, product(WHAT, &[2, groups, state])?])?),
        groups,
        group_channels: product(WHAT, &[2, state])?,
        matrix: product(WHAT, &[inner, state])?,
        bias: fields.flag("use_bias", false)?,
        conv_bias: fields.flag("use_conv_bias", true)?,
    })
}

/// Caches of a model in which some layers attend and the others keep a state.
fn hybrid_caches(dims: &Dims, attends: &Layers, state: CacheKind) -> Result<Vec<CacheGroup>> {
    let states = dims.marked(|layer| !attends.holds(layer))?;
    let groups = [(dims.full_cache(), attends.clone()), (state, states)];
    Ok(groups
        .into_iter()
        .filter(|(_, layers)| layers.count(0, dims.layers) > 0)
        .map(|(kind, layers)| CacheGroup { kind, layers })
        .collect())
}

fn jamba(fields: &Fields) -> Result<Model> {
    let mut dims = Dims::read(&HYBRID, fields)?;
    dims.context = fields.count("max_position_embeddings", Some(UNLIMITED_CONTEXT))?;
    let every = |period: &'static str, offset: &'static str, defaults: (u64, u64)| -> Result<Layers> {
        let (period, offset) = (fields.count(period, Some(defaults.0))?, fields.index(offset, Some(defaults.1))?);
        marked(dims.layers, |layer| {
            let from = layer.checked_rem(period);
            from == offset.checked_rem(period)
        })
    };
    let attends = every("attn_layer_period", "attn_layer_offset", (8, 4))?;
    let count = axis("num_experts", fields.count("num_experts", Some(16))?);
    let sparse = if count.size > 1 {
        every("expert_layer_period", "expert_layer_offset", (2, 1))?
    } else {
        marked(dims.layers, |_| false)?
    };
    let states = dims.marked(|layer| !attends.holds(layer))?;
    let dense = dims.marked(|layer| !sparse.holds(layer))?;
    let names =
        ["mamba_d_state", "mamba_d_conv", "mamba_expand", "mamba_dt_rank", "mamba_proj_bias", "mamba_conv_bias", ""];
    let mixer = mixer(fields, dims.hidden, names)?;
    let mut builder = Builder::default();
    frame(&mut builder, &dims);
    mixer.rules(&mut builder, &states)?;
    builder.norm(&states, "layers.{}.mamba.dt_layernorm", Norm::Weight, mixer.rank);
    builder.norm(&states, "layers.{}.mamba.b_layernorm", Norm::Weight, mixer.state);
    builder.norm(&states, "layers.{}.mamba.c_layernorm", Norm::Weight, mixer.state);
    head_attention(&mut builder, &HYBRID, &dims, &attends, fields)?;
    mlp(&mut builder, &dims, true, &dense, false);
    let (inner, twice) =
        (axis("intermediate_size", dims.inner), axis("intermediate_size", product(WHAT, &[2, dims.inner])?));
    builder.vector(&sparse, "layers.{}.feed_forward.router.weight", &[count, dims.hidden()]);
    let name = "layers.{}.feed_forward.experts.gate_up_proj";
    builder.push(name, &sparse, Role::Experts, Split::Even, &[count, twice, dims.hidden()]);
    let name = "layers.{}.feed_forward.experts.down_proj";
    builder.push(name, &sparse, Role::Experts, Split::Even, &[count, dims.hidden(), inner]);
    finish(builder, &dims, &attends, mixer.cache()?, fields)
}

fn bamba(fields: &Fields) -> Result<Model> {
    let mut dims = Dims::read(&BAMBA, fields)?;
    dims.context = fields.count("max_position_embeddings", Some(UNLIMITED_CONTEXT))?;
    let listed = fields.numbers("attn_layer_indices")?;
    let attends = dims.marked(|layer| listed.contains(&layer))?;
    let states = dims.marked(|layer| !attends.holds(layer))?;
    let inner = expanded(fields, "mamba_expand", dims.hidden)?;
    let heads = fields.count("mamba_n_heads", Some(128))?;
    let state = fields.count("mamba_d_state", Some(256))?;
    let groups = fields.count("mamba_n_groups", Some(1))?;
    divide("mamba_n_heads", inner, heads)?;
    let mixer = Mixer2 {
        hidden: dims.hidden(),
        inner: axis("mamba_expand", inner),
        heads: axis("mamba_n_heads", heads),
        kernel: axis("mamba_d_conv", fields.count("mamba_d_conv", Some(4))?),
        channels: axis("mamba_n_groups", sum(WHAT, &[inner, product(WHAT, &[2, groups, state])?])?),
        groups,
        group_channels: product(WHAT, &[2, state])?,
        matrix: product(WHAT, &[inner, state])?,
        bias: fields.flag("mamba_proj_bias", false)?,
        conv_bias: fields.flag("mamba_conv_bias", true)?,
    };
    let mut builder = Builder::default();
    frame(&mut builder, &dims);
    mixer.rules(&mut builder, &states)?;
    head_attention(&mut builder, &BAMBA, &dims, &attends, fields)?;
    mlp(&mut builder, &dims, true, &Layers::All, BAMBA.mlp_bias.read(fields)?);
    finish(builder, &dims, &attends, mixer.cache(), fields)
}

/// Embedding and norms of a hybrid model.
fn frame(builder: &mut Builder, dims: &Dims) {
    builder.embedding("embed_tokens.weight", axis("vocab_size", dims.vocabulary), dims.hidden());
    builder.norm(&Layers::All, "final_layernorm", Norm::Weight, dims.hidden());
    builder.norm(&Layers::All, "layers.{}.input_layernorm", Norm::Weight, dims.hidden());
    builder.norm(&Layers::All, "layers.{}.pre_ff_layernorm", Norm::Weight, dims.hidden());
}

fn finish(mut builder: Builder, dims: &Dims, attends: &Layers, state: CacheKind, fields: &Fields) -> Result<Model> {
    let tied = fields.flag("tie_word_embeddings", false)?;
    output(&mut builder, dims, tied, false);
    // A layer without a parameter of some kind has no rule for it.
    builder.rules.retain(|rule| rule.place != crate::model::Place::Layer || rule.layers.count(0, dims.layers) > 0);
    let mut model = Model::new(dims.shape(tied), builder.rules, fields.dtype()?);
    model.caches = hybrid_caches(dims, attends, state)?;
    model.experts_per_token = fields.index("num_experts_per_tok", Some(0))?;
    Ok(model)
}
