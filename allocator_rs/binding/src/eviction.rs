//! How often models are used, and which go for another.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::eviction::{Decision, EvictionError, Newcomer, Resident, Settings};
use pyo3::create_exception;
use pyo3::prelude::*;

use crate::errors::AllocatorError;
use crate::guard::detach;

create_exception!(echoplaned._allocator, ResidentDuplicateError, AllocatorError, "Two residents have one name.");
create_exception!(echoplaned._allocator, AdvantageInvalidError, AllocatorError, "The advantage is no number from 1.");

/// Add every class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ResidentDuplicateError", module.py().get_type::<ResidentDuplicateError>())?;
    module.add("AdvantageInvalidError", module.py().get_type::<AdvantageInvalidError>())
}

fn error(error: &EvictionError) -> PyErr {
    let text = error.to_string();
    match error {
        EvictionError::ResidentDuplicate { .. } => ResidentDuplicateError::new_err(text),
        EvictionError::AdvantageInvalid { .. } => AdvantageInvalidError::new_err(text),
    }
}

/// Id, bytes, reload milliseconds, since milliseconds, pinned, serving.
type ResidentTuple = (String, u64, u64, u64, bool, bool);
/// Id, lacking bytes, reload milliseconds, required.
type NewcomerTuple = (String, u64, u64, bool);

/// What was decided: names that go (None where nobody does), what that costs, what the newcomer is worth, missing bytes.
type Answer = (Option<Vec<String>>, f64, f64, u64);

/// Uses of each model.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct Usage(Mutex<::eviction::Usage>);

impl Usage {
    fn lock(&self) -> MutexGuard<'_, ::eviction::Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Usage {
    #[new]
    fn new(half_life_ms: u64) -> Self {
        Self(Mutex::new(::eviction::Usage::new(half_life_ms)))
    }

    fn record(&self, python: Python<'_>, id: &str, uses: u32, now_ms: u64) -> PyResult<()> {
        detach(python, || self.lock().record(id, uses, now_ms))
    }

    fn rate(&self, python: Python<'_>, id: &str, now_ms: u64) -> PyResult<f64> {
        detach(python, || self.lock().rate(id, now_ms))
    }

    fn forget(&self, python: Python<'_>, least: f64, now_ms: u64) -> PyResult<usize> {
        detach(python, || self.lock().forget(least, now_ms))
    }

    fn choose(
        &self,
        python: Python<'_>,
        residents: Vec<ResidentTuple>,
        newcomer: NewcomerTuple,
        min_residency_ms: u64,
        advantage: f64,
        now_ms: u64,
    ) -> PyResult<Answer> {
        let resident = |(id, bytes, reload_ms, since_ms, pinned, serving)| Resident {
            id,
            bytes,
            reload_ms,
            since_ms,
            pinned,
            serving,
        };
        let residents: Vec<Resident> = residents.into_iter().map(resident).collect();
        let (id, lacking_bytes, reload_ms, required) = newcomer;
        let newcomer = Newcomer { id, lacking_bytes, reload_ms, required };
        let settings = Settings { min_residency_ms, advantage };
        let decision = detach(python, || ::eviction::choose(&residents, &newcomer, &self.lock(), settings, now_ms))?
            .map_err(|found| error(&found))?;
        Ok(match decision {
            Decision::Evict { ids, cost } => (Some(ids), cost, 0.0, 0),
            Decision::NotWorth { cost, worth } => (None, cost, worth, 0),
            Decision::Impossible { missing_bytes } => (None, 0.0, 0.0, missing_bytes),
        })
    }
}
