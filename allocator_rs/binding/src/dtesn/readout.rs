//! Readouts. Arrays are read and written in place; the interpreter is free meanwhile.

use std::sync::Mutex;

use numpy::{
    PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use readout::{ReadoutError, Recursive, Regularisation, Ridge};

use super::errors;
use crate::guard::{detach, locked};

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn raise(error: ReadoutError) -> PyErr {
    errors::readout(&error)
}

/// A fitted ridge regression.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct RidgeReadout(Ridge);

#[pymethods]
impl RidgeReadout {
    /// Fit; without a regularisation cross-validation chooses it.
    #[staticmethod]
    #[pyo3(signature = (states, targets, regularisation=None))]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn fit(
        python: Python<'_>,
        states: PyReadonlyArray2<'_, f32>,
        targets: PyReadonlyArray2<'_, f32>,
        regularisation: Option<f64>,
    ) -> PyResult<Self> {
        errors::by_rows("states", states.is_c_contiguous())?;
        errors::by_rows("targets", targets.is_c_contiguous())?;
        let (features, outputs) = (states.shape()[1], targets.shape()[1]);
        let states = states.as_slice().map_err(|_| errors::strided("states"))?;
        let targets = targets.as_slice().map_err(|_| errors::strided("targets"))?;
        let how = regularisation.map_or(Regularisation::CrossValidated, Regularisation::Fixed);
        detach(python, || Ridge::fit(states, features, targets, outputs, how))?.map(Self).map_err(raise)
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn predict(
        &self,
        python: Python<'_>,
        states: PyReadonlyArray2<'_, f32>,
        mut out: PyReadwriteArray2<'_, f32>,
    ) -> PyResult<()> {
        errors::by_rows("states", states.is_c_contiguous())?;
        errors::by_rows("out", out.is_c_contiguous())?;
        if states.shape()[1] != self.0.features() {
            return Err(errors::shape("columns of states", states.shape()[1], self.0.features()));
        }
        let states = states.as_slice().map_err(|_| errors::strided("states"))?;
        let out = out.as_slice_mut().map_err(|_| errors::strided("out"))?;
        detach(python, || self.0.predict(states, out))?.map_err(raise)
    }

    #[getter]
    fn features(&self) -> usize {
        self.0.features()
    }

    #[getter]
    fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// Output by output.
    #[getter]
    fn weights<'py>(&self, python: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(python, self.0.weights())
    }

    #[getter]
    fn bias<'py>(&self, python: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(python, self.0.bias())
    }

    #[getter]
    fn regularisation(&self) -> f64 {
        self.0.regularisation()
    }

    #[getter]
    fn degrees(&self) -> Option<f64> {
        self.0.degrees()
    }
}

/// Recursive least squares.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct RecursiveReadout(Mutex<Recursive>);

impl RecursiveReadout {
    /// Work on the readout; rows are checked before anything is learnt.
    fn with<T: Send>(&self, python: Python<'_>, work: impl FnOnce(&mut Recursive) -> T + Send) -> PyResult<T> {
        locked(python, &self.0, work)
    }
}

#[pymethods]
impl RecursiveReadout {
    #[new]
    fn new(python: Python<'_>, features: usize, outputs: usize, forgetting: f64, start: f64) -> PyResult<Self> {
        let made = detach(python, || Recursive::new(features, outputs, forgetting, start))?;
        made.map(|readout| Self(Mutex::new(readout))).map_err(raise)
    }

    #[getter]
    fn updates(&self, python: Python<'_>) -> PyResult<u64> {
        self.with(python, |readout| readout.updates())
    }

    /// Output by output, the bias last.
    #[getter]
    fn weights<'py>(&self, python: Python<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let weights = self.with(python, |readout| readout.weights().to_vec())?;
        Ok(PyArray1::from_vec(python, weights))
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn predict(
        &self,
        python: Python<'_>,
        state: PyReadonlyArray1<'_, f32>,
        mut out: PyReadwriteArray1<'_, f32>,
    ) -> PyResult<()> {
        let state = state.as_slice().map_err(|_| errors::strided("state"))?;
        let out = out.as_slice_mut().map_err(|_| errors::strided("out"))?;
        self.with(python, |readout| readout.predict(state, out))?.map_err(raise)
    }

    /// Row by row: predict, then learn.
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
    fn update(
        &self,
        python: Python<'_>,
        states: PyReadonlyArray2<'_, f32>,
        targets: PyReadonlyArray2<'_, f32>,
        mut out: PyReadwriteArray2<'_, f32>,
    ) -> PyResult<()> {
        errors::by_rows("states", states.is_c_contiguous())?;
        errors::by_rows("targets", targets.is_c_contiguous())?;
        errors::by_rows("out", out.is_c_contiguous())?;
        let (features, outputs) = self.with(python, |readout| (readout.features(), readout.outputs()))?;
        for (name, found, expected) in [
            ("columns of states", states.shape()[1], features),
            ("columns of targets", targets.shape()[1], outputs),
            ("rows of targets", targets.shape()[0], states.shape()[0]),
            ("columns of out", out.shape()[1], outputs),
            ("rows of out", out.shape()[0], states.shape()[0]),
        ] {
            if found != expected {
                return Err(errors::shape(name, found, expected));
            }
        }
        let states = states.as_slice().map_err(|_| errors::strided("states"))?;
        let targets = targets.as_slice().map_err(|_| errors::strided("targets"))?;
        let out = out.as_slice_mut().map_err(|_| errors::strided("out"))?;
        let learn = |readout: &mut Recursive| {
            let rows = states.chunks_exact(features).zip(targets.chunks_exact(outputs));
            rows.zip(out.chunks_exact_mut(outputs)).try_for_each(|((x, y), to)| readout.update(x, y, to))
        };
        self.with(python, learn)?.map_err(raise)
    }
}
