//! Rules by label, so that a membrane looks only at its own.

use crate::model::{Action, System};

/// Numbers of rules by the label of their membrane.
#[derive(Debug)]
pub struct Index {
    /// Rules that take objects of the membrane itself.
    pub own: Vec<Vec<usize>>,
    /// Rules that take objects from around the membrane.
    pub send_in: Vec<Vec<usize>>,
    /// Whether there is any of the latter.
    pub any_send_in: bool,
}

impl Index {
    /// Sort a system's rules.
    pub fn new(system: &System) -> Self {
        let none = || vec![vec![]; system.labels.len()];
        let mut found = Self { own: none(), send_in: none(), any_send_in: false };
        for (number, rule) in system.rules.iter().enumerate() {
            if matches!(rule.action, Action::SendIn { .. }) {
                found.send_in[rule.label].push(number);
                found.any_send_in = true;
            } else {
                found.own[rule.label].push(number);
            }
        }
        found
    }
}
