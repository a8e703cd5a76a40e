//! The Python module `echoplaned._allocator`: converts arguments and results, releases the interpreter while Rust works,
//! and has one exception class for each error variant. It decides nothing.

use pyo3::prelude::*;

mod calibration;
mod contents;
mod dtesn;
mod errors;
mod eviction;
mod functions;
mod guard;
mod names;
mod placement;
mod requests;
mod types;

#[pymodule]
mod _allocator {
    #[pymodule_export]
    use super::calibration::{Constants, calibrate};
    #[pymodule_export]
    use super::contents::{StopFlag, digest, digest_known, open_beneath};
    #[pymodule_export]
    use super::eviction::Usage;
    #[pymodule_export]
    use super::functions::{alternatives, inspect, inspect_config, place, reservoir, size_class};
    #[pymodule_export]
    use super::guard::panic_with;
    #[pymodule_export]
    use super::placement::{Fleet, Item, pack};
    #[pymodule_export]
    use super::requests::{Request, architectures, gguf_kinds, limits, size, size_batch, survey, survey_config};
    #[pymodule_export]
    use super::types::{Alternative, Checkpoint, Component, Reservoir, Sizing};

    use super::{dtesn, errors, eviction, placement};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        errors::register(module)?;
        eviction::register(module)?;
        placement::register(module)?;
        dtesn::register(module)
    }
}
