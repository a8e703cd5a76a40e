//! A P system: alphabet, membranes with their objects, and rules.

/// Objects with their multiplicities: sorted by object, no zeros.
pub type Multiset = Vec<(usize, u64)>;

/// A membrane's charge, as P systems with active membranes have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charge {
    /// 0.
    #[default]
    Neutral,
    /// +.
    Positive,
    /// -.
    Negative,
}

/// A membrane at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membrane {
    /// Index into the labels; several membranes may share one.
    pub label: usize,
    /// Its charge.
    pub charge: Charge,
    /// The membrane around it; None for the skin, which is the first. A parent stands before its children.
    pub parent: Option<usize>,
    /// Its objects.
    pub contents: Multiset,
}

/// What a rule does with what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `[u --> v]'h`: any number of instances a step; objects stay, go out or into a child, and the membrane may dissolve.
    Evolve {
        /// Objects that stay.
        here: Multiset,
        /// Objects that go to the membrane around it; from the skin to the environment.
        out: Multiset,
        /// Objects that go into a child with this label.
        into: Vec<(usize, Multiset)>,
        /// Whether the membrane dissolves at the end of the step.
        dissolve: bool,
    },
    /// `u[]'h --> [v]'h`: takes from around the membrane; like all that follow, once a membrane and step.
    SendIn {
        /// The membrane's new charge.
        charge: Charge,
        /// What comes in.
        inside: Multiset,
    },
    /// `[u]'h --> []'h v`.
    SendOut {
        /// The membrane's new charge.
        charge: Charge,
        /// What goes out.
        outside: Multiset,
    },
    /// `[u]'h --> v`: the membrane dissolves, and leaves this.
    Dissolve {
        /// What is left beside the membrane's contents.
        outside: Multiset,
    },
    /// `[u]'h --> [v]'h [w]'h`: two copies with all other contents, inner membranes too.
    Divide {
        /// Charge and objects of the first copy.
        first: (Charge, Multiset),
        /// Charge and objects of the second.
        second: (Charge, Multiset),
    },
}

/// A rule of all membranes with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Index into the labels.
    pub label: usize,
    /// The charge that the membrane must have.
    pub charge: Charge,
    /// 1 is the highest; a rule without a level neither blocks nor is blocked.
    pub priority: Option<u32>,
    /// What an instance takes; not empty.
    pub left: Multiset,
    /// What it does.
    pub action: Action,
}

impl Rule {
    /// Whether at most one instance a membrane and step is applied.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        !matches!(self.action, Action::Evolve { .. })
    }

    /// Whether the membrane is gone or doubled afterwards.
    #[must_use]
    pub const fn is_structural(&self) -> bool {
        matches!(self.action, Action::Evolve { dissolve: true, .. } | Action::Dissolve { .. } | Action::Divide { .. })
    }
}

/// A system that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The name of the model, as the text has it.
    pub model: String,
    /// The alphabet.
    pub symbols: Vec<String>,
    /// Labels of membranes.
    pub labels: Vec<String>,
    /// The membranes, in preorder.
    pub membranes: Vec<Membrane>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Label of the output membrane; None for the environment.
    pub output: Option<usize>,
}

impl System {
    /// The number of an object.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<usize> {
        self.symbols.iter().position(|known| known == name)
    }

    /// The number of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<usize> {
        self.labels.iter().position(|known| known == name)
    }
}
