//! The module's functions.

use std::path::PathBuf;
use std::sync::Arc;

use ::placement::Device;
use pyo3::prelude::*;
use sizing::WeightDtype;

use crate::errors;
use crate::types;

/// A device as Python hands it over: id, capacity, reserve and reserved bytes.
type DeviceTuple = (String, u64, u64, u64);

/// Read a dtype's name.
pub fn dtype(name: &str) -> PyResult<WeightDtype> {
    WeightDtype::parse(name).ok_or_else(|| errors::NameUnknownError::new_err(format!("dtype {name:?} is unknown")))
}

/// Read an engine's name; only the embedded one has a profile so far.
pub fn engine(name: &str) -> PyResult<()> {
    if name == "torch" {
        return Ok(());
    }
    Err(errors::NameUnknownError::new_err(format!("engine {name:?} has no memory profile; torch has one")))
}

fn devices(tuples: Vec<DeviceTuple>) -> Vec<Device> {
    tuples
        .into_iter()
        .map(|(id, capacity_bytes, reserve_bytes, reserved_bytes)| Device {
            id,
            capacity_bytes,
            reserve_bytes,
            reserved_bytes,
        })
        .collect()
}

/// Read a checkpoint directory's config and headers.
#[pyfunction]
#[pyo3(signature = (directory, allowed_root=None))]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts paths by value")]
pub fn inspect(python: Python<'_>, directory: PathBuf, allowed_root: Option<PathBuf>) -> PyResult<types::Checkpoint> {
    python
        .detach(|| sizing::inspect(&directory, allowed_root.as_deref()))
        .map(|found| types::Checkpoint(Arc::new(found)))
        .map_err(|error| errors::sizing(&error))
}

/// Read a `config.json` alone.
#[pyfunction]
pub fn inspect_config(python: Python<'_>, text: &[u8]) -> PyResult<types::Checkpoint> {
    python
        .detach(|| sizing::inspect_config(text))
        .map(|found| types::Checkpoint(Arc::new(found)))
        .map_err(|error| errors::sizing(&error))
}

/// BLAKE3 over name, length and content of files; 64 hex digits.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts paths and lists by value")]
pub fn digest(python: Python<'_>, directory: PathBuf, files: Vec<String>) -> PyResult<String> {
    python.detach(|| ::digest::digest(&directory, &files)).map_err(|error| errors::digest(&error))
}

/// The size class of a parameter count.
#[pyfunction]
pub fn size_class(parameter_count: u64) -> &'static str {
    ::reservoir::size_class(parameter_count).name
}

/// The reservoir of a model.
#[pyfunction]
#[pyo3(signature = (parameter_count, streams, *, spectral_radius=0.85, leak=0.3, input_scale=0.15))]
pub fn reservoir(
    parameter_count: u64,
    streams: u64,
    spectral_radius: f64,
    leak: f64,
    input_scale: f64,
) -> PyResult<types::Reservoir> {
    let settings = ::reservoir::Settings { spectral_radius, leak, input_scale };
    ::reservoir::reservoir(parameter_count, streams, settings)
        .map(Into::into)
        .map_err(|error| errors::reservoir(&error))
}

/// A device a replica, or None where they do not all fit.
#[pyfunction]
#[pyo3(name = "place")]
pub fn place(
    python: Python<'_>,
    device_tuples: Vec<DeviceTuple>,
    needed_bytes: u64,
    replicas: u64,
) -> PyResult<Option<Vec<String>>> {
    let devices = devices(device_tuples);
    python
        .detach(|| ::placement::place(&devices, needed_bytes, replicas))
        .map_err(|error| crate::placement::error(&error))
}

/// The nearest choices that fit, the least costly first. `fixed_bytes` and `sequence_bytes` are needed beside the model.
#[pyfunction]
#[pyo3(signature = (checkpoint, device_tuples, *, dtype_name, context_length, max_concurrency, replicas, fixed_bytes, sequence_bytes))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments of one request, which the Python facade names")]
pub fn alternatives(
    python: Python<'_>,
    checkpoint: &types::Checkpoint,
    device_tuples: Vec<DeviceTuple>,
    dtype_name: &str,
    context_length: u64,
    max_concurrency: u64,
    replicas: u64,
    fixed_bytes: u64,
    sequence_bytes: u64,
) -> PyResult<Vec<types::Alternative>> {
    let wanted = whatif::Choice { dtype: dtype(dtype_name)?, context_length, max_concurrency };
    let devices = devices(device_tuples);
    let upper_bytes = |choice: whatif::Choice| {
        let sized = sizing::size(&checkpoint.0, choice.dtype, choice.context_length, choice.max_concurrency).ok()?;
        let beside = choice.max_concurrency.checked_mul(sequence_bytes)?.checked_add(fixed_bytes)?;
        sized.upper_bytes().ok()?.checked_add(beside)
    };
    let found = python.detach(|| whatif::alternatives(wanted, replicas, &devices, upper_bytes));
    Ok(found.into_iter().map(Into::into).collect())
}
