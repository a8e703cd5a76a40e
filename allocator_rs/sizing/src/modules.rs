//! Names of modules as quantisation configs write them: which parts of a model they mean.

use std::cell::Cell;
use std::collections::HashSet;

use crate::expression::Expression;

/// Most expressions of one config; published ones have a dozen.
const MAX_EXPRESSIONS: usize = 256;

/// Steps that all expressions of one config may take together: a second at most.
const MAX_STEPS: u64 = 10_000_000;

/// Modules by name, by a part of the name, or by expression. Matching has an end.
#[derive(Debug, Clone)]
pub struct Modules {
    names: HashSet<String>,
    expressions: Vec<Expression>,
    /// The first text that could not be read.
    unread: Option<String>,
    /// What is left of [`MAX_STEPS`].
    steps: Cell<u64>,
}

impl Default for Modules {
    fn default() -> Self {
        Self { names: HashSet::new(), expressions: Vec::new(), unread: None, steps: Cell::new(MAX_STEPS) }
    }
}

impl Modules {
    /// Take a name as a config writes it: `lm_head`, `model.layers.1.mlp`, `model.layers.*.self_attn`, `re:.*self_attn.*`.
    pub fn add(&mut self, text: &str) {
        if let Some(expression) = text.strip_prefix("re:") {
            self.add_expression(expression);
        } else if text.contains('*') || text.contains('?') {
            self.add_expression(&text.replace('.', "\\.").replace('*', ".*").replace('?', "."));
        } else if !text.is_empty() {
            self.names.insert(text.trim_matches('.').to_owned());
        }
    }

    /// Take a regular expression, which must match from the name's beginning.
    pub fn add_expression(&mut self, expression: &str) {
        match Expression::parse(expression) {
            Some(found) if self.expressions.len() < MAX_EXPRESSIONS => self.expressions.push(found),
            _ => self.unread = Some(expression.chars().take(60).collect()),
        }
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.expressions.is_empty()
    }

    /// An expression that is none, or one too many; all of them where they take too long.
    #[must_use]
    pub fn unread(&self) -> Option<&str> {
        if self.steps.get() == 0 { Some("all of them together") } else { self.unread.as_deref() }
    }

    /// Whether a module is meant: by its whole name, by a run of the name's parts (a module above it among them), or by expression.
    #[must_use]
    pub fn hold(&self, module: &str) -> bool {
        let ends = |at: usize| at == module.len() || module.as_bytes().get(at) == Some(&b'.');
        let starts = std::iter::once(0).chain(module.match_indices('.').map(|(at, _)| at.saturating_add(1)));
        for begin in starts {
            let stops = module.match_indices('.').map(|(at, _)| at).chain(std::iter::once(module.len()));
            for end in stops.filter(|end| *end > begin && ends(*end)) {
                if module.get(begin..end).is_some_and(|part| self.names.contains(part)) {
                    return true;
                }
            }
        }
        let mut steps = self.steps.get();
        let found = self.expressions.iter().any(|expression| expression.matches(module, &mut steps));
        self.steps.set(steps);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(texts: &[&str]) -> Modules {
        let mut modules = Modules::default();
        for text in texts {
            modules.add(text);
        }
        modules
    }

    #[test]
    fn a_name_means_the_module_and_what_is_below_it() {
        let modules = named(&["lm_head", "model.layers.1.mlp", "router"]);
        for module in ["lm_head", "model.layers.1.mlp.up_proj", "model.layers.0.mlp.router"] {
            assert!(modules.hold(module), "{module}");
        }
        for module in ["model.layers.11.mlp.up_proj", "model.layers.1.self_attn.q_proj", "model.lm_head2"] {
            assert!(!modules.hold(module), "{module}");
        }
    }

    #[test]
    fn stars_and_expressions_are_understood() {
        let modules =
            named(&["model.layers.*.self_attn", "re:.*\\.shared_experts?\\..*", "re:model.layers.[0-2]\\.mlp"]);
        for module in [
            "model.layers.12.self_attn.q_proj",
            "model.layers.7.mlp.shared_expert.up_proj",
            "model.layers.2.mlp.up_proj",
        ] {
            assert!(modules.hold(module), "{module}");
        }
        assert!(!modules.hold("model.layers.3.mlp.up_proj"));
        assert!(modules.unread().is_none() && named(&["re:("]).unread().is_some());
    }
}
