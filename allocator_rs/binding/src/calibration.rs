//! An engine's constants, fitted to readings.

use ::calibration::{CalibrationError, Fit, Reading};
use pyo3::prelude::*;
use sizing::constants::{LOADING, PROCESSES, SERVING, SERVING_TRIMMED};

use crate::errors;
use crate::guard::detach;

/// Constants of one engine in one version on one device.
#[pyclass(frozen, skip_from_py_object, module = "echoplaned._allocator")]
#[derive(Clone)]
pub struct Constants(pub sizing::Constants);

#[pymethods]
impl Constants {
    /// Base bytes of a serving process.
    #[getter]
    const fn overhead_bytes(&self) -> f64 {
        self.0.serving.base
    }

    /// Kept by the heap for each byte of temporaries.
    #[getter]
    const fn heap_slack(&self) -> f64 {
        self.0.serving.factor
    }

    /// Base bytes of a loading process.
    #[getter]
    const fn load_overhead_bytes(&self) -> f64 {
        self.0.loading.base
    }

    /// Beyond stored bytes and weights, for each byte of both, while loading.
    #[getter]
    const fn load_slack(&self) -> f64 {
        self.0.loading.factor
    }

    /// Readings under load that counted, by the sum of their weights.
    #[getter]
    const fn effective_count(&self) -> f64 {
        self.0.serving.effective_count
    }

    /// Noise of a reading in units of the prior's.
    #[getter]
    const fn scale(&self) -> f64 {
        self.0.serving.scale
    }

    /// Expected and upper bytes of a serving process beyond exact sizes, for `temporary` bytes of temporaries.
    fn serving(&self, temporary: f64) -> (f64, f64) {
        bounds(&self.0.serving, temporary)
    }

    /// The same of a loading one beyond `both`: stored bytes and weights together.
    fn loading(&self, both: f64) -> (f64, f64) {
        bounds(&self.0.loading, both)
    }
}

fn bounds(fit: &Fit, size: f64) -> (f64, f64) {
    let expected = fit.expected(size);
    (expected, expected + fit.margin(size))
}

/// Fit constants to readings: computed size and what was measured beyond it, in bytes; none at all gives the prior.
///
/// `trimmed`: the processes' heap handed freed blocks back at once. `foreign`: they are another engine's.
#[pyfunction]
#[pyo3(signature = (serving, loading, *, trimmed=false, foreign=false))]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
pub fn calibrate(
    python: Python<'_>,
    serving: Vec<(f64, f64)>,
    loading: Vec<(f64, f64)>,
    trimmed: bool,
    foreign: bool,
) -> PyResult<Constants> {
    let prior = match (foreign, trimmed) {
        (true, _) => &PROCESSES,
        (false, true) => &SERVING_TRIMMED,
        (false, false) => &SERVING,
    };
    let readings =
        |rows: &[(f64, f64)]| rows.iter().map(|&(size, target)| Reading { size, target }).collect::<Vec<_>>();
    detach(python, || {
        let serving = ::calibration::fit(&readings(&serving), prior)?;
        let loading = ::calibration::fit(&readings(&loading), &LOADING)?;
        Ok(Constants(sizing::Constants { serving, loading }))
    })?
    .map_err(|error: CalibrationError| errors::ReadingInvalidError::new_err(error.to_string()))
}
