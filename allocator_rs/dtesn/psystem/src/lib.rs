//! P systems (membrane computing): multisets of objects in nested membranes, rewritten in maximal parallel steps.
//!
//! One step reads the old configuration, applies in every membrane a multiset of rule instances to which no further
//! instance can be added, all at once, and then dissolves and divides. A rule of lower priority is not used while one of
//! higher priority is applicable, even where the objects would suffice for both (strong priority). In matrices:
//! c' = c + M'k with k maximal under L'k <= c. (Paun, Rozenberg, Salomaa, "The Oxford Handbook of Membrane Computing".)

mod configuration;
mod cursor;
mod engine;
mod error;
mod expand;
mod health;
mod index;
mod lexer;
mod model;
mod parser;
mod printer;
mod rules;
mod structure;
mod syntax;
mod threshold;

pub use configuration::{Configuration, MAX_MEMBRANES, Node};
pub use cursor::MAX_NESTING;
pub use engine::{Applied, Choice, MAX_STEPS};
pub use error::{Position, SystemError};
pub use health::{Alarms, Event, Health, Thresholds, health_text};
pub use lexer::MAX_TEXT;
pub use model::{Action, Charge, Membrane, Multiset, Rule, System};
pub use threshold::threshold;
