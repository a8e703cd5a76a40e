//! Questions to the sizing crate, and its answers in bulk.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use sizing::{CpuIsa, KvDtype, Lora};

use crate::calibration::Constants;
use crate::errors;
use crate::guard::detach;
use crate::names::{dtype, engine};
use crate::types::{Checkpoint, Sizing};

/// What a row of a batch holds where the model cannot be had that way: more than any device.
const IMPOSSIBLE: u64 = u64::MAX;
/// Rows that are worth a thread of their own.
const ROWS_PER_THREAD: usize = 4_096;
const MAX_THREADS: usize = 16;

/// An engine, dtypes, a workload, a split.
#[pyclass(frozen, skip_from_py_object, module = "echoplaned._allocator")]
#[derive(Clone)]
pub struct Request(pub sizing::Request);

#[pymethods]
impl Request {
    #[new]
    #[pyo3(signature = (*, engine_name, dtype_name, context_length, max_concurrency, kv_dtype_name="AUTO",
        tensor_parallel=1, pipeline_parallel=1, block_size=None, max_batched_tokens=None, lora=None, constants=None,
        cpu_isa_name="UNKNOWN", threads=1))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of one request, which the Python facade names")]
    fn new(
        engine_name: &str,
        dtype_name: &str,
        context_length: u64,
        max_concurrency: u64,
        kv_dtype_name: &str,
        tensor_parallel: u64,
        pipeline_parallel: u64,
        block_size: Option<u64>,
        max_batched_tokens: Option<u64>,
        lora: Option<(u64, u64)>,
        constants: Option<&Constants>,
        cpu_isa_name: &str,
        threads: u64,
    ) -> PyResult<Self> {
        let unknown = |what: &str, name: &str| errors::NameUnknownError::new_err(format!("{what} {name:?} is unknown"));
        let kv_dtype = KvDtype::parse(kv_dtype_name).ok_or_else(|| unknown("KV dtype", kv_dtype_name))?;
        let cpu_isa = CpuIsa::parse(cpu_isa_name).ok_or_else(|| unknown("instruction set", cpu_isa_name))?;
        Ok(Self(sizing::Request {
            engine: engine(engine_name)?,
            dtype: dtype(dtype_name)?,
            kv_dtype,
            context_length,
            max_concurrency,
            tensor_parallel,
            pipeline_parallel,
            block_size,
            max_batched_tokens,
            lora: lora.map(|(adapters, rank)| Lora { adapters, rank }),
            constants: constants.map_or_else(sizing::Constants::default, |given| given.0),
            cpu_isa,
            threads,
        }))
    }
}

/// Components of one instance.
#[pyfunction]
pub fn size(python: Python<'_>, checkpoint: &Checkpoint, request: &Request) -> PyResult<Sizing> {
    let sized = detach(python, || {
        let sized = sizing::size_for(&checkpoint.0, &request.0)?;
        Ok((sized.bytes()?, sized.upper_bytes()?, sized))
    })?
    .map_err(|error| errors::sizing(&error))?;
    Ok(sized.into())
}

/// The longest context at the request's concurrency and the most sequences at its context that fit into `free_bytes`.
#[pyfunction]
pub fn limits(
    python: Python<'_>,
    checkpoint: &Checkpoint,
    request: &Request,
    free_bytes: u64,
) -> PyResult<(Option<u64>, Option<u64>)> {
    detach(python, || sizing::limits::limits(&checkpoint.0, &request.0, free_bytes))?
        .map(|found| (found.context_length, found.max_concurrency))
        .map_err(|error| errors::sizing(&error))
}

/// Expected and upper bytes.
type Columns<'py> = (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u64>>);

/// Expected and upper bytes of many workloads. The arrays are read in place; 2**64 - 1 stands for what cannot be had.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 borrows arrays by value")]
pub fn size_batch<'py>(
    python: Python<'py>,
    checkpoint: &Checkpoint,
    request: &Request,
    context_lengths: PyReadonlyArray1<'py, u64>,
    max_concurrencies: PyReadonlyArray1<'py, u64>,
) -> PyResult<Columns<'py>> {
    let (contexts, concurrencies) = (context_lengths.as_slice()?, max_concurrencies.as_slice()?);
    if contexts.len() != concurrencies.len() {
        let text = format!("{} contexts and {} concurrencies", contexts.len(), concurrencies.len());
        return Err(errors::BatchInvalidError::new_err(text));
    }
    let (bytes, upper) = detach(python, || fill(&checkpoint.0, &request.0, contexts, concurrencies))?;
    Ok((bytes.into_pyarray(python), upper.into_pyarray(python)))
}

fn fill(
    checkpoint: &sizing::Checkpoint,
    request: &sizing::Request,
    contexts: &[u64],
    concurrencies: &[u64],
) -> (Vec<u64>, Vec<u64>) {
    let rows = contexts.len();
    let (mut bytes, mut upper) = (vec![IMPOSSIBLE; rows], vec![IMPOSSIBLE; rows]);
    let cores = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let chunk = rows.div_ceil(cores).max(ROWS_PER_THREAD);
    thread::scope(|scope| {
        let inputs = contexts.chunks(chunk).zip(concurrencies.chunks(chunk));
        for ((contexts, concurrencies), (bytes, upper)) in
            inputs.zip(bytes.chunks_mut(chunk).zip(upper.chunks_mut(chunk)))
        {
            let mut work = move || {
                let outputs = bytes.iter_mut().zip(upper.iter_mut());
                for ((&context_length, &max_concurrency), (bytes, upper)) in
                    contexts.iter().zip(concurrencies).zip(outputs)
                {
                    let request = sizing::Request { context_length, max_concurrency, ..*request };
                    if let Ok(totals) = sizing::totals_for(checkpoint, &request) {
                        (*bytes, *upper) = (totals.bytes, totals.upper_bytes);
                    }
                }
            };
            if rows <= chunk {
                work();
            } else {
                scope.spawn(work);
            }
        }
    });
    (bytes, upper)
}

/// Read whatever can be sized: a directory, a GGUF file, a `config.json`.
#[pyfunction]
#[pyo3(signature = (path, allowed_root=None))]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts paths by value")]
pub fn survey(python: Python<'_>, path: PathBuf, allowed_root: Option<PathBuf>) -> PyResult<Checkpoint> {
    detach(python, || sizing::survey(&path, allowed_root.as_deref()))?
        .map(|found| Checkpoint(Arc::new(found)))
        .map_err(|error| errors::sizing(&error))
}

/// Read a `config.json` alone, of any architecture of the catalogue.
#[pyfunction]
pub fn survey_config(python: Python<'_>, text: &[u8]) -> PyResult<Checkpoint> {
    detach(python, || sizing::survey_config(text))?
        .map(|found| Checkpoint(Arc::new(found)))
        .map_err(|error| errors::sizing(&error))
}

/// Name of each architecture, and whether the embedded engine serves it.
#[pyfunction]
pub fn architectures() -> Vec<(&'static str, bool)> {
    sizing::catalogue::all().map(|row| (row.name, row.served)).collect()
}

/// Number, name, elements and bytes of a block of each GGUF type.
#[pyfunction]
pub fn gguf_kinds() -> Vec<(u32, &'static str, u64, u64)> {
    gguf::KINDS.iter().map(|kind| (kind.id, kind.name, kind.elements, kind.bytes)).collect()
}
