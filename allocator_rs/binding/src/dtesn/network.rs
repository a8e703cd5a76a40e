//! The tree reservoir and its streams. Arrays are read and written in place; the interpreter is free meanwhile.

use std::sync::{Arc, Mutex};

use network::{Config, Network, NetworkError, Store, Streams};
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::errors;
use crate::guard::{detach, locked};

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn raise(error: NetworkError) -> PyErr {
    errors::network(&error)
}

fn columns(name: &str, found: usize, expected: usize) -> PyResult<()> {
    if found == expected { Ok(()) } else { Err(errors::shape(name, found, expected)) }
}

/// A network of membranes.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct TreeNetwork(Arc<Network>);

#[pymethods]
impl TreeNetwork {
    #[new]
    #[pyo3(signature = (tree, inputs, *, spectral_radius, leak, input_scale, bias_scale, coupling_scale, givens_layers, seed))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments, which the Python facade names")]
    fn new(
        python: Python<'_>,
        tree: Vec<u32>,
        inputs: usize,
        spectral_radius: f64,
        leak: f64,
        input_scale: f64,
        bias_scale: f64,
        coupling_scale: f64,
        givens_layers: usize,
        seed: u64,
    ) -> PyResult<Self> {
        let config = Config {
            tree,
            inputs,
            spectral_radius,
            leak,
            input_scale,
            bias_scale,
            coupling_scale,
            givens_layers,
            seed,
        };
        detach(python, || Network::new(&config))?.map(|network| Self(Arc::new(network))).map_err(raise)
    }

    /// Layers of rotations that give a block's density.
    #[staticmethod]
    fn givens_layers(block_density: f64) -> PyResult<u32> {
        reservoir::givens_layers(block_density).map_err(|error| errors::SettingInvalidError::new_err(error.to_string()))
    }

    #[getter]
    fn units(&self) -> usize {
        self.0.units()
    }

    #[getter]
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    #[getter]
    fn tree(&self) -> Vec<u32> {
        self.0.config().tree.clone()
    }

    #[getter]
    fn time_constants(&self) -> Vec<f64> {
        self.0.time_constants().to_vec()
    }

    #[getter]
    fn fingerprint(&self) -> u64 {
        self.0.fingerprint()
    }

    #[getter]
    fn weight_bytes(&self) -> usize {
        self.0.weight_bytes()
    }

    #[getter]
    fn non_zeros(&self) -> usize {
        self.0.non_zeros()
    }

    fn contraction_rate(&self, dt: f64) -> PyResult<f64> {
        self.0.contraction_rate(dt).map_err(raise)
    }

    fn washout(&self, tolerance: f64, dt: f64) -> PyResult<u64> {
        self.0.washout(tolerance, dt).map_err(raise)
    }

    fn washout_bound(&self, python: Python<'_>, tolerance: f64, dt: f64) -> PyResult<u64> {
        detach(python, || self.0.washout_bound(tolerance, dt))?.map_err(raise)
    }

    /// The block of a membrane, row by row.
    fn block(&self, membrane: usize) -> PyResult<Vec<Vec<f32>>> {
        let rows = self.0.block(membrane).map_err(raise)?;
        Ok(rows.into_iter().map(|row| row.to_vec()).collect())
    }

    /// One step a row of `inputs`; `state` is changed, and each row's state written to `out`.
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn run(
        &self,
        python: Python<'_>,
        mut state: PyReadwriteArray1<'_, f32>,
        inputs: PyReadonlyArray2<'_, f32>,
        steps: PyReadonlyArray1<'_, f64>,
        mut out: Option<PyReadwriteArray2<'_, f32>>,
    ) -> PyResult<()> {
        columns("columns of inputs", inputs.shape()[1], self.0.inputs())?;
        errors::by_rows("inputs", inputs.is_c_contiguous())?;
        if let Some(out) = &out {
            errors::by_rows("out", out.is_c_contiguous())?;
            columns("columns of out", out.shape()[1], self.0.units())?;
        }
        let inputs = inputs.as_slice().map_err(|_| errors::strided("inputs"))?;
        let steps = steps.as_slice().map_err(|_| errors::strided("dt"))?;
        let state = state.as_slice_mut().map_err(|_| errors::strided("state"))?;
        let out = out.as_mut().map(|out| out.as_slice_mut().map_err(|_| errors::strided("out"))).transpose()?;
        detach(python, || self.0.run(state, inputs, steps, out))?.map_err(raise)
    }
}

/// Live streams of a network.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct TreeStreams(Mutex<Streams>);

impl TreeStreams {
    /// Work on the streams. A panic cannot leave one half moved: inputs are checked before the first one moves.
    fn with<T: Send>(
        &self,
        python: Python<'_>,
        work: impl FnOnce(&mut Streams) -> Result<T, NetworkError> + Send,
    ) -> PyResult<T> {
        locked(python, &self.0, work)?.map_err(raise)
    }
}

#[pymethods]
impl TreeStreams {
    #[new]
    fn new(python: Python<'_>, network: &TreeNetwork, capacity: usize, store: &str) -> PyResult<Self> {
        let kind = Store::parse(store).ok_or_else(|| {
            errors::SettingInvalidError::new_err(format!("store is {store:?}; it must be fp32, fp16 or bf16"))
        })?;
        let made = detach(python, || Streams::new(Arc::clone(&network.0), capacity, kind))?;
        made.map(|streams| Self(Mutex::new(streams))).map_err(raise)
    }

    #[getter]
    fn bytes(&self, python: Python<'_>) -> PyResult<usize> {
        self.with(python, |streams| Ok(streams.bytes()))
    }

    #[getter]
    fn bytes_per_stream(&self, python: Python<'_>) -> PyResult<usize> {
        self.with(python, |streams| Ok(Streams::bytes_per_stream(streams.network().units(), streams.store())))
    }

    #[getter]
    fn open_count(&self, python: Python<'_>) -> PyResult<usize> {
        self.with(python, |streams| Ok(streams.open_count()))
    }

    fn open(&self, python: Python<'_>) -> PyResult<u64> {
        self.with(python, Streams::open)
    }

    fn close(&self, python: Python<'_>, id: u64) -> PyResult<()> {
        self.with(python, |streams| streams.close(id))
    }

    fn replace(&self, python: Python<'_>, network: &TreeNetwork) -> PyResult<()> {
        self.with(python, |streams| streams.replace(Arc::clone(&network.0)))
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn step(
        &self,
        python: Python<'_>,
        ids: PyReadonlyArray1<'_, u64>,
        inputs: PyReadonlyArray2<'_, f32>,
        steps: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        errors::by_rows("inputs", inputs.is_c_contiguous())?;
        let ids = ids.as_slice().map_err(|_| errors::strided("ids"))?;
        let inputs = inputs.as_slice().map_err(|_| errors::strided("inputs"))?;
        let steps = steps.as_slice().map_err(|_| errors::strided("dt"))?;
        self.with(python, |streams| streams.step(ids, inputs, steps))
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn advance(
        &self,
        python: Python<'_>,
        ids: PyReadonlyArray1<'_, u64>,
        inputs: PyReadonlyArray2<'_, f32>,
        positions: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        errors::by_rows("inputs", inputs.is_c_contiguous())?;
        let ids = ids.as_slice().map_err(|_| errors::strided("ids"))?;
        let inputs = inputs.as_slice().map_err(|_| errors::strided("inputs"))?;
        let positions = positions.as_slice().map_err(|_| errors::strided("positions"))?;
        self.with(python, |streams| streams.advance(ids, inputs, positions))
    }

    /// The states of some streams, a row each.
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn read(
        &self,
        python: Python<'_>,
        ids: PyReadonlyArray1<'_, u64>,
        mut out: PyReadwriteArray2<'_, f32>,
    ) -> PyResult<()> {
        errors::by_rows("out", out.is_c_contiguous())?;
        columns("rows of out", out.shape()[0], ids.len())?;
        let units = self.with(python, |streams| Ok(streams.network().units()))?;
        columns("columns of out", out.shape()[1], units)?;
        let ids = ids.as_slice().map_err(|_| errors::strided("ids"))?;
        let out = out.as_slice_mut().map_err(|_| errors::strided("out"))?;
        self.with(python, |streams| {
            let rows = out.chunks_exact_mut(streams.network().units());
            ids.iter().zip(rows).try_for_each(|(id, row)| streams.read(*id, row))
        })
    }

    /// Position in tokens, and steps.
    fn place(&self, python: Python<'_>, id: u64) -> PyResult<(f64, u64)> {
        self.with(python, |streams| streams.place(id))
    }

    fn save<'py>(&self, python: Python<'py>, id: u64) -> PyResult<Bound<'py, PyBytes>> {
        let saved = self.with(python, |streams| streams.save(id))?;
        Ok(PyBytes::new(python, &saved))
    }

    fn restore(&self, python: Python<'_>, saved: &[u8]) -> PyResult<u64> {
        self.with(python, |streams| streams.restore(saved))
    }
}
