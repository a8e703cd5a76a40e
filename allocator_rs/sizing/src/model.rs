//! A model as rules: which parameters it has, and how large each is, in terms of its config's fields.

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
    /// Weight of an `nn.Linear`, [out, in]: the only kind that INT8 quantises.
    Linear,
    /// Weight of a transformers `Conv1D`, [in, out]: never quantised.
    Conv1d,
    /// A table of embeddings: never quantised.
    Embedding,
    /// The output embedding, tied or not: never quantised.
    OutputEmbedding,
    /// Biases and norms: never quantised.
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
    pub name: &'static str,
    /// Where it is.
    pub place: Place,
    /// Its axes, outermost first.
    pub axes: Vec<Axis>,
    /// What it is.
    pub role: Role,
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
}

/// A model's dimensions. Sizes in elements, context in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Width of the residual stream.
    pub hidden: u64,
    /// Layers.
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
    /// Elements of input and output embedding tables.
    pub embedding: u64,
}

impl Tally {
    /// Sum rules over the layers.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn of(rules: &[Rule], layers: u64) -> Result<Self> {
        let mut tally = Self::default();
        for rule in rules {
            let each = rule.elements()?;
            let copies = if rule.place == Place::Layer { layers } else { 1 };
            let all = product("the parameter count", &[each, copies])?;
            tally.parameters = sum("the parameter count", &[tally.parameters, all])?;
            match rule.role {
                Role::Linear => {
                    let rows = rule.axes.first().map_or(0, |axis| axis.size);
                    tally.linear = sum("the parameter count", &[tally.linear, all])?;
                    tally.linear_rows = sum("the rows", &[tally.linear_rows, product("the rows", &[rows, copies])?])?;
                    tally.largest_linear = tally.largest_linear.max(each);
                }
                Role::Embedding | Role::OutputEmbedding => {
                    tally.embedding = sum("the parameter count", &[tally.embedding, all])?;
                }
                Role::Conv1d | Role::Vector => {}
            }
        }
        Ok(tally)
    }
}

/// A model built from its config: dimensions and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Dimensions.
    pub shape: Shape,
    /// Parameters.
    pub rules: Vec<Rule>,
    /// What the config says of the weights' dtype.
    pub config_dtype: Option<WeightDtype>,
}
