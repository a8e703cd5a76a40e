//! A model as rules: which parameters it has, and how large each is, in terms of its config's fields.

use std::borrow::Cow;

use crate::cache::CacheGroup;
pub use crate::layers::Layers;
use crate::math::{product, sum};
use crate::{Result, WeightDtype};

/// One axis of a parameter: its size, and the config field that decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Field of `config.json`.
    pub field: &'static str,
    /// Elements along the axis.
    pub size: u64,
}

/// What a parameter is to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of an `nn.Linear`, [out, in]: the only kind that the torch engine's INT8 quantises.
    Linear,
    /// Weights of all experts of a layer in one tensor, [experts, out, in]: 16 bit in the torch engine, quantised by vLLM.
    Experts,
    /// Weight of a transformers `Conv1D`, [in, out]: never quantised.
    Conv1d,
    /// A table of embeddings: never quantised.
    Embedding,
    /// The output embedding, tied or not: never quantised.
    OutputEmbedding,
    /// Biases, norms and whatever else is small: never quantised.
    Vector,
}

/// Where a parameter's name begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the base model, once.
    Base,
    /// In the base model, once a layer; the name holds `{}`.
    Layer,
    /// Beside the base model: a head.
    Head,
    /// Before the base model: a tower that reads pictures.
    Tower,
}

/// How tensor parallelism divides a parameter over its ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Each rank holds all of it.
    Whole,
    /// An equal part each.
    Even,
    /// An equal number of key and value heads each, at least one: with more ranks than heads they are repeated.
    KvHeads,
    /// Rows of the vocabulary, padded to a multiple of 64, an equal part each.
    Vocabulary,
}

/// Whether files must have a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Required,
    /// The engine makes it up where it is missing, and nothing that is served depends on it.
    Optional,
}

/// One parameter, or one a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Tensor name without the base model's prefix.
    pub name: Cow<'static, str>,
    /// Where it is.
    pub place: Place,
    /// Which layers have it; of no meaning beside them.
    pub layers: Layers,
    /// Its axes, outermost first.
    pub axes: Vec<Axis>,
    /// What it is.
    pub role: Role,
    /// How ranks share it.
    pub split: Split,
    /// Whether it must be there.
    pub presence: Presence,
}

impl Rule {
    /// Elements of one such parameter.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn elements(&self) -> Result<u64> {
        self.axes.iter().try_fold(1, |acc, axis| product("a parameter's size", &[acc, axis.size]))
    }

    /// Whether its last two axes are a matrix's outputs and inputs.
    #[must_use]
    pub fn is_matrix(&self) -> bool {
        matches!(self.role, Role::Linear | Role::Experts)
    }

    /// Whether ranks share the inputs: of what writes to the residual stream (vLLM's `RowParallelLinear`). They share the outputs of
    /// everything else (`ColumnParallelLinear`).
    #[must_use]
    pub fn shares_inputs(&self) -> bool {
        let [.., last, first] = self.axes.as_slice() else { return false };
        ["hidden_size", "dim"].contains(&last.field) && last.field != first.field
    }

    /// As [`Rule::matrix`], what one of several ranks holds of `each` elements.
    #[must_use]
    pub fn held_matrix(&self, each: u64, ranks: u64) -> (u64, u64, u64) {
        let (output, input, many) = self.matrix();
        if ranks == 1 || self.split == Split::Whole {
            return (output, input, many);
        }
        let of_one = |other: u64| each.checked_div(other.saturating_mul(many)).unwrap_or(0);
        if self.shares_inputs() { (output, of_one(output), many) } else { (of_one(input), input, many) }
    }

    /// Outputs and inputs of a matrix, and how many of it there are (experts).
    #[must_use]
    pub fn matrix(&self) -> (u64, u64, u64) {
        match self.axes.as_slice() {
            [.., outer, output, input] => (output.size, input.size, outer.size),
            [output, input] => (output.size, input.size, 1),
            _ => (0, 0, 0),
        }
    }
}

/// A model's dimensions. Sizes in elements, context in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Width of the residual stream.
    pub hidden: u64,
    /// Layers; those of encoder and decoder together where there are both.
    pub layers: u64,
    /// Field that gives the layers.
    pub layers_field: &'static str,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of one head.
    pub head_dim: u64,
    /// Width of the MLP.
    pub intermediate: u64,
    /// Tokens of the vocabulary.
    pub vocabulary: u64,
    /// Longest sequence in tokens, from the position table or the config.
    pub max_context: u64,
    /// Classes of a classification head; 0 without one.
    pub labels: u64,
    /// Whether the output embedding is the input embedding.
    pub tied: bool,
    /// Bytes of buffers that the engine keeps beside the parameters, whatever the dtype.
    pub buffer_bytes: u64,
}

/// Parameters summed by what happens to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All parameters, tied ones once.
    pub parameters: u64,
    /// Of these, in weights of `nn.Linear`.
    pub linear: u64,
    /// Rows (outputs) of all `nn.Linear` weights: one INT8 scale each.
    pub linear_rows: u64,
    /// Elements of the largest `nn.Linear` weight.
    pub largest_linear: u64,
    /// Elements of experts that are held in one tensor a layer.
    pub experts: u64,
    /// Blocks of 128 by 128 of all linear weights and experts: one FP8 scale each.
    pub blocks: u64,
    /// Elements of input and output embedding tables.
    pub embedding: u64,
    /// Sum of inputs and outputs over all linear weights: what one rank of a `LoRA` adapter needs in elements.
    pub lora_width: u64,
}

impl Tally {
    /// Sum rules over the layers.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn of(rules: &[Rule], layers: u64) -> Result<Self> {
        let mut tally = Self::default();
        for rule in rules {
            let copies = if rule.place == Place::Layer { rule.layers.count(0, layers) } else { 1 };
            tally.add(rule, rule.elements()?, copies, 1)?;
        }
        Ok(tally)
    }

    /// Add an output embedding that the rules tie and the files keep apart; 0: there is none.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn add_head(&mut self, elements: u64) -> Result<()> {
        const WHAT: &str = "the parameter count";
        self.parameters = sum(WHAT, &[self.parameters, elements])?;
        self.embedding = sum(WHAT, &[self.embedding, elements])?;
        Ok(())
    }

    /// Add `copies` of a rule's parameter, of which this rank holds `each` elements; `ranks` share its matrices' rows.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn add(&mut self, rule: &Rule, each: u64, copies: u64, ranks: u64) -> Result<()> {
        const WHAT: &str = "the parameter count";
        let grow = |to: &mut u64, factors: &[u64]| -> Result<()> {
            *to = sum(WHAT, &[*to, product(WHAT, factors)?])?;
            Ok(())
        };
        grow(&mut self.parameters, &[each, copies])?;
        if rule.is_matrix() {
            let (output, input, many) = rule.held_matrix(each, ranks);
            grow(&mut self.blocks, &[output.div_ceil(128), input.div_ceil(128), many, copies])?;
            if rule.role == Role::Linear {
                grow(&mut self.linear, &[each, copies])?;
                grow(&mut self.linear_rows, &[output, copies])?;
                grow(&mut self.lora_width, &[sum(WHAT, &[output, input])?, copies])?;
                self.largest_linear = self.largest_linear.max(each);
            } else {
                grow(&mut self.experts, &[each, copies])?;
            }
        }
        if matches!(rule.role, Role::Embedding | Role::OutputEmbedding) {
            grow(&mut self.embedding, &[each, copies])?;
        }
        Ok(())
    }
}

/// A model built from its config: dimensions and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Dimensions.
    pub shape: Shape,
    /// Parameters.
    pub rules: Vec<Rule>,
    /// What a sequence keeps between steps, by kind of layer; empty for encoders.
    pub caches: Vec<CacheGroup>,
    /// Parameters of heads that predict further tokens: in the files, loaded by engines that use them, in no other count.
    pub mtp_parameters: u64,
    /// Routed experts that a token goes to; 0 for dense models.
    pub experts_per_token: u64,
    /// Elements of buffers that are held in the compute dtype, beside those of [`Shape::buffer_bytes`].
    pub buffer_elements: u64,
    /// What the config says of the weights' dtype.
    pub config_dtype: Option<WeightDtype>,
}

impl Model {
    /// A model without caches, experts or further heads.
    #[must_use]
    pub const fn new(shape: Shape, rules: Vec<Rule>, config_dtype: Option<WeightDtype>) -> Self {
        Self {
            shape,
            rules,
            caches: Vec::new(),
            mtp_parameters: 0,
            experts_per_token: 0,
            buffer_elements: 0,
            config_dtype,
        }
    }
}
