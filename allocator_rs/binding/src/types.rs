//! Results as frozen Python objects.

use std::borrow::Cow;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::contents::FileTuple;
use crate::errors;
use crate::guard::detach;
use crate::names::{dtype, engine};

/// A checkpoint as its config and its headers describe it.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct Checkpoint(pub Arc<sizing::Checkpoint>);

#[pymethods]
impl Checkpoint {
    #[getter]
    fn architecture(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn is_served(&self) -> bool {
        self.0.architecture.served
    }

    #[getter]
    fn mtp_parameter_count(&self) -> u64 {
        self.0.model.mtp_parameters
    }

    #[getter]
    fn task(&self) -> &'static str {
        self.0.task.name()
    }

    #[getter]
    fn parameter_count(&self) -> u64 {
        self.0.parameter_count
    }

    #[getter]
    fn stored_dtype(&self) -> &'static str {
        self.0.stored_dtype.name()
    }

    #[getter]
    fn stored_bytes(&self) -> u64 {
        self.0.stored_bytes
    }

    #[getter]
    fn has_weights(&self) -> bool {
        self.0.has_weights
    }

    /// How a config says that the weights are packed; empty: not at all.
    #[getter]
    fn method(&self) -> &str {
        &self.0.method
    }

    /// Whether the config asks for the repository's own code.
    #[getter]
    fn asks_for_code(&self) -> bool {
        self.0.asks_for_code
    }

    /// Whether the engine puts parameters together of several tensors.
    #[getter]
    fn put_together(&self) -> bool {
        self.0.put_together
    }

    #[getter]
    fn files(&self) -> Vec<String> {
        self.0.files.clone()
    }

    /// The files as they were when they were read.
    #[getter]
    fn contents(&self) -> Vec<FileTuple> {
        let tuple = |file: &sizing::folder::SourceFile| {
            let of = file.identity;
            (file.name.clone(), file.path.clone(), of.size_bytes, of.inode, of.change_time_ns)
        };
        self.0.contents.iter().map(tuple).collect()
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings.clone()
    }

    #[getter]
    fn max_context_length(&self) -> u64 {
        self.0.model.shape.max_context
    }

    #[getter]
    fn embedding_width(&self) -> u64 {
        self.0.model.shape.hidden
    }

    #[getter]
    fn label_count(&self) -> u64 {
        self.0.model.shape.labels
    }

    #[getter]
    fn vocabulary_size(&self) -> u64 {
        self.0.model.shape.vocabulary
    }

    /// Components of one instance for a dtype, a context length and a concurrency.
    #[pyo3(signature = (*, dtype_name, context_length, max_concurrency, engine_name))]
    fn size(
        &self,
        python: Python<'_>,
        dtype_name: &str,
        context_length: u64,
        max_concurrency: u64,
        engine_name: &str,
    ) -> PyResult<Sizing> {
        let request = sizing::Request {
            engine: engine(engine_name)?,
            ..sizing::Request::torch(dtype(dtype_name)?, context_length, max_concurrency)
        };
        let sized = detach(python, || {
            let sized = sizing::size_for(&self.0, &request)?;
            Ok((sized.bytes()?, sized.upper_bytes()?, sized))
        })?
        .map_err(|error| errors::sizing(&error))?;
        Ok(sized.into())
    }
}

/// One part of the memory that a model needs.
#[pyclass(frozen, get_all, skip_from_py_object, module = "echoplaned._allocator")]
#[derive(Clone)]
pub struct Component {
    name: &'static str,
    bytes: u64,
    upper_bytes: u64,
    formula: Cow<'static, str>,
    inputs: Vec<(&'static str, u64)>,
    source: &'static str,
}

/// All components of one instance, and their sums.
#[pyclass(frozen, get_all, module = "echoplaned._allocator")]
pub struct Sizing {
    components: Vec<Component>,
    bytes: u64,
    upper_bytes: u64,
    quantised_ppm: u64,
    warnings: Vec<String>,
    ranks: Vec<(u64, u64)>,
    kv_bytes_per_token: u64,
    verified: bool,
}

impl From<(u64, u64, sizing::Sized)> for Sizing {
    fn from((bytes, upper_bytes, sized): (u64, u64, sizing::Sized)) -> Self {
        let convert = |part: sizing::Component| Component {
            name: part.name,
            bytes: part.bytes,
            upper_bytes: part.upper_bytes,
            formula: part.formula,
            inputs: part.inputs,
            source: part.source,
        };
        Self {
            components: sized.components.into_iter().map(convert).collect(),
            bytes,
            upper_bytes,
            quantised_ppm: sized.quantised_ppm,
            warnings: sized.warnings,
            ranks: sized.ranks.iter().map(|totals| (totals.bytes, totals.upper_bytes)).collect(),
            kv_bytes_per_token: sized.kv_bytes_per_token,
            verified: sized.verified,
        }
    }
}

/// A reservoir's parameters and memory.
#[pyclass(frozen, get_all, module = "echoplaned._allocator")]
pub struct Reservoir {
    size_class: &'static str,
    membrane_depth: u32,
    units: u64,
    tree: Vec<u32>,
    level_time_constants: Vec<f64>,
    bytes_per_stream: u64,
    weight_bytes: u64,
    total_bytes: u64,
}

impl From<reservoir::Reservoir> for Reservoir {
    fn from(from: reservoir::Reservoir) -> Self {
        Self {
            size_class: from.class.name,
            membrane_depth: from.class.depth,
            units: from.class.units,
            tree: from.tree,
            level_time_constants: from.level_time_constants,
            bytes_per_stream: from.bytes_per_stream,
            weight_bytes: from.weight_bytes,
            total_bytes: from.total_bytes,
        }
    }
}

/// A nearby plan that fits.
#[pyclass(frozen, get_all, module = "echoplaned._allocator")]
pub struct Alternative {
    action: &'static str,
    dtype: &'static str,
    context_length: u64,
    max_concurrency: u64,
    tensor_parallel: u64,
    upper_bytes: u64,
    device_id: String,
    freed_bytes: u64,
    undo_seconds: f64,
    victims: Vec<String>,
    warning: String,
}

impl From<whatif::Alternative> for Alternative {
    fn from(from: whatif::Alternative) -> Self {
        Self {
            action: from.action.name(),
            dtype: from.choice.dtype.name(),
            context_length: from.choice.context_length,
            max_concurrency: from.choice.max_concurrency,
            tensor_parallel: from.choice.tensor_parallel,
            upper_bytes: from.upper_bytes,
            device_id: from.device_id,
            freed_bytes: from.freed_bytes,
            undo_seconds: from.undo_seconds,
            victims: from.victims,
            warning: from.warning,
        }
    }
}
