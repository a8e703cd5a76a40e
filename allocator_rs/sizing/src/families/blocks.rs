//! The parts that models are made of: matrices, norms and embeddings, written down as rules.

use std::borrow::Cow;

use crate::model::{Axis, Layers, Place, Presence, Role, Rule, Split};

/// Which vectors a norm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// A weight (RMS norm, or a layer norm without bias).
    Weight,
    /// A weight and a bias.
    WeightAndBias,
    /// Nothing to learn.
    Bare,
}

/// A linear layer. Names are without `.weight`.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Name.
    pub name: &'static str,
    /// Outputs.
    pub output: Axis,
    /// Inputs.
    pub input: Axis,
    /// Whether it has a bias.
    pub bias: bool,
    /// How ranks share it.
    pub split: Split,
}

/// Writes rules down.
#[derive(Debug, Default)]
pub struct Builder {
    /// What was written.
    pub rules: Vec<Rule>,
}

impl Builder {
    /// A parameter of any kind. A name with `{}` is one a layer.
    pub fn push(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        layers: &Layers,
        role: Role,
        split: Split,
        axes: &[Axis],
    ) {
        let name = name.into();
        let place = if name.contains("{}") { Place::Layer } else { Place::Base };
        let (axes, layers) = (axes.to_vec(), layers.clone());
        self.rules.push(Rule { name, place, layers, axes, role, split, presence: Presence::Required });
    }

    /// A parameter outside the base model.
    pub fn head(&mut self, name: &'static str, role: Role, split: Split, axes: &[Axis]) {
        self.push(name, &Layers::All, role, split, axes);
        if let Some(last) = self.rules.last_mut() {
            last.place = Place::Head;
        }
    }

    /// A linear layer with its bias.
    pub fn linear(&mut self, layers: &Layers, linear: Linear) {
        let Linear { name, output, input, bias, split } = linear;
        self.push(format!("{name}.weight"), layers, Role::Linear, split, &[output, input]);
        if bias {
            self.push(format!("{name}.bias"), layers, Role::Vector, Split::Whole, &[output]);
        }
    }

    /// A norm.
    pub fn norm(&mut self, layers: &Layers, name: &'static str, norm: Norm, width: Axis) {
        if norm != Norm::Bare {
            self.push(format!("{name}.weight"), layers, Role::Vector, Split::Whole, &[width]);
        }
        if norm == Norm::WeightAndBias {
            self.push(format!("{name}.bias"), layers, Role::Vector, Split::Whole, &[width]);
        }
    }

    /// A vector, or any small tensor.
    pub fn vector(&mut self, layers: &Layers, name: &'static str, axes: &[Axis]) {
        self.push(name, layers, Role::Vector, Split::Whole, axes);
    }

    /// A table of embeddings; that of the vocabulary is shared out by ranks.
    pub fn embedding(&mut self, name: &'static str, rows: Axis, width: Axis) {
        let split = if rows.field == "vocab_size" { Split::Vocabulary } else { Split::Whole };
        self.push(name, &Layers::All, Role::Embedding, split, &[rows, width]);
    }
}
