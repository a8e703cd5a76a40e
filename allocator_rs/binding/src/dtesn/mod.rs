//! The deep tree echo state network: trees, reservoir, readouts, B-series, P systems.

use pyo3::prelude::*;

mod discrepancy;
mod errors;
mod network;
mod psystem;
mod readout;
mod series;
mod trees;

/// Add all of it to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::register(module)?;
    trees::register(module)?;
    module.add_class::<network::TreeNetwork>()?;
    module.add_class::<network::TreeStreams>()?;
    module.add_class::<readout::RidgeReadout>()?;
    module.add_class::<readout::RecursiveReadout>()?;
    discrepancy::register(module)?;
    series::register(module)?;
    module.add_class::<psystem::MembraneSystem>()?;
    module.add_class::<psystem::MembraneConfiguration>()?;
    module.add_class::<psystem::HealthSystem>()?;
    Ok(())
}
