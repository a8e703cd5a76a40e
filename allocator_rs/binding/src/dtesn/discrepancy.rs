//! The maximum mean discrepancy. Arrays are read where they lie; the interpreter is free meanwhile.

use ::mmd::{Discrepancy, Plan, Samples, compare};
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::errors;
use crate::guard::detach;

/// Add the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(discrepancy, module)?)
}

/// Statistic, p-value, permutations tried, median distance.
#[pyfunction]
#[pyo3(signature = (first, second, strata, *, permutations, seed, threads))]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts array borrows by value")]
fn discrepancy(
    python: Python<'_>,
    first: PyReadonlyArray2<'_, f64>,
    second: PyReadonlyArray2<'_, f64>,
    strata: PyReadonlyArray1<'_, u32>,
    permutations: u32,
    seed: u64,
    threads: usize,
) -> PyResult<(f64, f64, u32, f64)> {
    errors::by_rows("first", first.is_c_contiguous())?;
    errors::by_rows("second", second.is_c_contiguous())?;
    let width = first.shape()[1];
    if second.shape()[1] != width {
        return Err(errors::shape("columns of second", second.shape()[1], width));
    }
    let samples = Samples {
        first: first.as_slice().map_err(|_| errors::strided("first"))?,
        second: second.as_slice().map_err(|_| errors::strided("second"))?,
        width,
        strata: strata.as_slice().map_err(|_| errors::strided("strata"))?,
    };
    let plan = Plan { permutations, seed, threads };
    let found = detach(python, || compare(&samples, &plan))?.map_err(|error| errors::mmd(&error))?;
    let Discrepancy { statistic, p_value, permutations, median } = found;
    Ok((statistic, p_value, permutations, median))
}
