//! Names that Python gives, as the sizing crate's values.

use pyo3::prelude::*;
use sizing::{Engine, WeightDtype};

use crate::errors;

/// Read a dtype's name.
pub fn dtype(name: &str) -> PyResult<WeightDtype> {
    WeightDtype::parse(name).ok_or_else(|| errors::NameUnknownError::new_err(format!("dtype {name:?} is unknown")))
}

/// Read an engine's name.
pub fn engine(name: &str) -> PyResult<Engine> {
    Engine::parse(name).ok_or_else(|| {
        let known: Vec<_> = Engine::ALL.iter().map(|(known, _)| *known).collect();
        let text = format!("engine {name:?} has no memory profile; there are: {}", known.join(", "));
        errors::NameUnknownError::new_err(text)
    })
}
