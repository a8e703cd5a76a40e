//! B-series; exact numbers cross as text.

use std::path::PathBuf;
use std::sync::Arc;

use bseries::{Cache, Number, Series, SeriesError, Tableau};
use pyo3::prelude::*;

use super::errors;
use crate::guard::detach;

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn raise(error: SeriesError) -> PyErr {
    errors::series(&error)
}

fn numbers(texts: &[String]) -> PyResult<Vec<Number>> {
    texts.iter().map(|text| Number::parse(text)).collect::<Result<_, _>>().map_err(raise)
}

fn texts(values: &[Number]) -> Vec<String> {
    values.iter().map(Number::to_string).collect()
}

/// A Runge-Kutta method.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct ButcherTableau(Tableau);

#[pymethods]
impl ButcherTableau {
    #[new]
    #[pyo3(signature = (a, b, c=None))]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
    fn new(a: Vec<Vec<String>>, b: Vec<String>, c: Option<Vec<String>>) -> PyResult<Self> {
        let rows = a.iter().map(|row| numbers(row)).collect::<PyResult<Vec<_>>>()?;
        let c = c.map(|values| numbers(&values)).transpose()?;
        Tableau::new(&rows, &numbers(&b)?, c.as_deref()).map(Self).map_err(raise)
    }

    /// A method of the catalogue.
    #[staticmethod]
    fn named(name: &str) -> PyResult<Self> {
        bseries::tableau(name).map(Self).map_err(raise)
    }

    #[staticmethod]
    fn names() -> Vec<&'static str> {
        bseries::NAMES.to_vec()
    }

    #[getter]
    fn a(&self) -> Vec<Vec<String>> {
        self.0.a().iter().map(|row| texts(row)).collect()
    }

    #[getter]
    fn b(&self) -> Vec<String> {
        texts(self.0.b())
    }

    #[getter]
    fn c(&self) -> Vec<String> {
        texts(self.0.c())
    }
}

/// The series of a method.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct MethodSeries(Arc<Series>);

#[pymethods]
impl MethodSeries {
    #[new]
    fn new(python: Python<'_>, tableau: &ButcherTableau, order: usize) -> PyResult<Self> {
        detach(python, || Series::new(&tableau.0, order))?.map(|series| Self(Arc::new(series))).map_err(raise)
    }

    #[getter]
    fn order(&self) -> usize {
        self.0.order()
    }

    #[getter]
    fn method_order(&self) -> usize {
        self.0.method_order()
    }

    #[getter]
    fn weights(&self) -> Vec<String> {
        texts(self.0.weights())
    }

    #[getter]
    fn coefficients(&self) -> Vec<String> {
        texts(&self.0.coefficients())
    }

    #[getter]
    fn residuals(&self) -> Vec<String> {
        texts(&self.0.residuals())
    }

    #[getter]
    fn principal_error(&self) -> Option<Vec<String>> {
        self.0.principal_error().as_deref().map(texts)
    }

    #[getter]
    fn principal_error_norm(&self) -> Option<f64> {
        self.0.principal_error_norm()
    }

    fn longest_step(&self, tolerance: f64) -> Option<f64> {
        self.0.longest_step(tolerance)
    }
}

/// Series that were computed once.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct SeriesCache(Cache);

#[pymethods]
impl SeriesCache {
    #[new]
    #[pyo3(signature = (directory=None))]
    fn new(directory: Option<PathBuf>) -> PyResult<Self> {
        Cache::new(directory).map(Self).map_err(raise)
    }

    fn get(&self, python: Python<'_>, tableau: &ButcherTableau, order: usize) -> PyResult<MethodSeries> {
        detach(python, || self.0.get(&tableau.0, order))?.map(MethodSeries).map_err(raise)
    }

    /// Memory hits, disk hits, misses.
    #[getter]
    fn counters(&self) -> (u64, u64, u64) {
        let counters = self.0.counters();
        (counters.memory_hits, counters.disk_hits, counters.misses)
    }
}

/// Level sequences, symmetries and densities of all trees up to an order.
#[pyfunction]
fn series_trees(order: usize) -> PyResult<Vec<(Vec<u32>, u64, u64)>> {
    let forest = bseries::forest();
    let count = bseries::Forest::count(order).map_err(raise)?;
    let both = forest.symmetries().iter().zip(forest.densities());
    let all = forest.trees().iter().zip(both).take(count);
    Ok(all.map(|(tree, (symmetry, density))| (tree.levels().to_vec(), *symmetry, *density)).collect())
}

/// First a step of `first`, then one of `second`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
fn series_compose(python: Python<'_>, first: Vec<String>, second: Vec<String>, order: usize) -> PyResult<Vec<String>> {
    let (first, second) = (numbers(&first)?, numbers(&second)?);
    detach(python, || bseries::compose(&first, &second, order))?.map(|found| texts(&found)).map_err(raise)
}

/// The modified equation.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
fn series_modified(python: Python<'_>, weights: Vec<String>, order: usize) -> PyResult<Vec<String>> {
    let weights = numbers(&weights)?;
    detach(python, || bseries::modified(&weights, order))?.map(|found| texts(&found)).map_err(raise)
}

/// The same series with another step.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
fn series_scaled(weights: Vec<String>, factor: &str, order: usize) -> PyResult<Vec<String>> {
    let factor = Number::parse(factor).map_err(raise)?;
    bseries::scaled(&numbers(&weights)?, &factor, order).map(|found| texts(&found)).map_err(raise)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ButcherTableau>()?;
    module.add_class::<MethodSeries>()?;
    module.add_class::<SeriesCache>()?;
    module.add_function(wrap_pyfunction!(series_trees, module)?)?;
    module.add_function(wrap_pyfunction!(series_compose, module)?)?;
    module.add_function(wrap_pyfunction!(series_modified, module)?)?;
    module.add_function(wrap_pyfunction!(series_scaled, module)?)
}
