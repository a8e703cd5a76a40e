//! The module's functions.

use std::path::PathBuf;
use std::sync::Arc;

use ::placement::Device;
use pyo3::prelude::*;

use crate::errors;
use crate::guard::detach;
use crate::requests::Request;
use crate::types;

/// A device as Python hands it over: id, capacity, reserve and reserved bytes.
type DeviceTuple = (String, u64, u64, u64);

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
    detach(python, || sizing::inspect(&directory, allowed_root.as_deref()))?
        .map(|found| types::Checkpoint(Arc::new(found)))
        .map_err(|error| errors::sizing(&error))
}

/// Read a `config.json` alone.
#[pyfunction]
pub fn inspect_config(python: Python<'_>, text: &[u8]) -> PyResult<types::Checkpoint> {
    detach(python, || sizing::inspect_config(text))?
        .map(|found| types::Checkpoint(Arc::new(found)))
        .map_err(|error| errors::sizing(&error))
}

/// The size class of a parameter count.
#[pyfunction]
pub fn size_class(parameter_count: u64) -> &'static str {
    ::reservoir::size_class(parameter_count).name
}

/// The reservoir of a model.
#[pyfunction]
#[pyo3(signature = (parameter_count, streams, *, spectral_radius=0.85, leak=0.3, input_scale=0.15, block_density=0.125))]
pub fn reservoir(
    parameter_count: u64,
    streams: u64,
    spectral_radius: f64,
    leak: f64,
    input_scale: f64,
    block_density: f64,
) -> PyResult<types::Reservoir> {
    let settings = ::reservoir::Settings { spectral_radius, leak, input_scale, block_density };
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
    detach(python, || ::placement::place(&devices, needed_bytes, replicas))?
        .map_err(|error| crate::placement::error(&error))
}

/// What could make room: name, device, bytes, seconds to wake (None: it cannot be parked), to reload, uses an hour.
type VictimTuple = (String, String, u64, Option<f64>, f64, f64);

/// The nearest choices that fit, the least costly first. `fixed_bytes` and `sequence_bytes` are needed beside the model.
#[pyfunction]
#[pyo3(signature = (checkpoint, request, device_tuples, *, replicas, fixed_bytes, sequence_bytes, victim_tuples, splits, reload_seconds))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments of one request, which the Python facade names")]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
pub fn alternatives(
    python: Python<'_>,
    checkpoint: &types::Checkpoint,
    request: &Request,
    device_tuples: Vec<DeviceTuple>,
    replicas: u64,
    fixed_bytes: u64,
    sequence_bytes: u64,
    victim_tuples: Vec<VictimTuple>,
    splits: Vec<u64>,
    reload_seconds: f64,
) -> PyResult<Vec<types::Alternative>> {
    let request = request.0;
    let wanted = whatif::Choice {
        dtype: request.dtype,
        context_length: request.context_length,
        max_concurrency: request.max_concurrency,
        tensor_parallel: request.tensor_parallel,
    };
    let devices = devices(device_tuples);
    let victims: Vec<_> = victim_tuples
        .into_iter()
        .map(|(name, device_id, bytes, wake_seconds, reload_seconds, uses_per_hour)| whatif::EvictionCandidate {
            name,
            device_id,
            bytes,
            wake_seconds,
            reload_seconds,
            uses_per_hour,
        })
        .collect();
    let upper_bytes = |choice: whatif::Choice| {
        let asked = sizing::Request {
            dtype: choice.dtype,
            context_length: choice.context_length,
            max_concurrency: choice.max_concurrency,
            tensor_parallel: choice.tensor_parallel,
            ..request
        };
        let totals = sizing::totals_for(&checkpoint.0, &asked).ok()?;
        let beside = choice.max_concurrency.checked_mul(sequence_bytes)?.checked_add(fixed_bytes)?;
        totals.upper_bytes.checked_add(beside)
    };
    let situation = whatif::Situation {
        wanted,
        replicas,
        devices: &devices,
        candidates: &victims,
        dtypes: request.engine.smaller_dtypes(request.dtype),
        splits: &splits,
        reload_seconds,
    };
    let found = detach(python, || whatif::alternatives(&situation, upper_bytes))?;
    Ok(found.into_iter().map(Into::into).collect())
}
