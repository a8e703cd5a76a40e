//! What can be wrong with a text or a run.

use std::fmt;

/// Where something stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}", self.line, self.column)
    }
}

/// What is wrong with a text, a system or a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemError {
    /// The text is not of the subset.
    #[error("{position}: {what}")]
    Syntax {
        /// Where.
        position: Position,
        /// What was found and what was expected.
        what: String,
    },
    /// A membrane that the structure does not have.
    #[error("{position}: there is no membrane '{label}")]
    MembraneUndefined {
        /// Where it is named.
        position: Position,
        /// Its label.
        label: String,
    },
    /// Membranes, expressions, groups or calls that are nested too deeply.
    #[error("{position}: nested deeper than {limit}")]
    TooDeep {
        /// Where the limit is passed.
        position: Position,
        /// The limit.
        limit: usize,
    },
    /// The text, or what its ranges expand to, is too large.
    #[error("{what} is too large; at most {limit} are taken")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The system goes on.
    #[error("the system has not halted after {steps} steps")]
    NotHalted {
        /// How many steps were made.
        steps: u64,
    },
    /// The result of a computation that is not over.
    #[error("the system has not halted: there is no result yet")]
    Running,
    /// More objects than 64 bits count.
    #[error("there are more than 2^64 - 1 copies of object {symbol}")]
    Overflow {
        /// The object.
        symbol: String,
    },
    /// Division made too many membranes.
    #[error("there are more than {limit} membranes or cells")]
    TooManyMembranes {
        /// The limit.
        limit: usize,
    },
    /// A number or name of the caller that does not exist.
    #[error("there is no {what} {value}")]
    Unknown {
        /// Membrane, object or gate.
        what: &'static str,
        /// What the caller gave.
        value: String,
    },
    /// The health tree cannot change while events are on their way.
    #[error("an epoch is open: {events} events wait for its close")]
    EpochOpen {
        /// How many.
        events: u64,
    },
    /// A threshold that is no threshold.
    #[error("{name} is {value}; it must be from 1 to 1000000")]
    Threshold {
        /// Which one.
        name: &'static str,
        /// What the caller gave.
        value: u64,
    },
}
