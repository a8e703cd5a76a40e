//! P systems.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use psystem::{Applied, Charge, Choice, Configuration, Event, Health, System, SystemError, Thresholds};
use pyo3::prelude::*;

use super::errors;

/// A membrane: id, label, charge, index of the membrane around it, objects.
type NodeTuple = (u64, String, i8, Option<usize>, BTreeMap<String, u64>);
/// Rule instances: membrane id, rule index, times.
type AppliedTuple = (u64, usize, u64);

fn tuple(one: &Applied) -> AppliedTuple {
    (one.membrane, one.rule, one.times)
}

fn objects(system: &System, counts: &[u64]) -> BTreeMap<String, u64> {
    let named = system.symbols.iter().zip(counts).filter(|(_, times)| **times > 0);
    named.map(|(name, times)| (name.clone(), *times)).collect()
}

fn nodes(configuration: &Configuration) -> Vec<NodeTuple> {
    let system = configuration.system();
    let node = |(place, node): (usize, &psystem::Node)| {
        let charge = match node.charge {
            Charge::Neutral => 0,
            Charge::Positive => 1,
            Charge::Negative => -1,
        };
        let parent = (place > 0).then_some(node.parent);
        (node.id, system.labels[node.label].clone(), charge, parent, objects(system, configuration.contents(place)))
    };
    configuration.nodes().iter().enumerate().map(node).collect()
}

fn symbol(system: &System, name: &str) -> Result<usize, SystemError> {
    system.symbol(name).ok_or_else(|| SystemError::Unknown { what: "object", value: name.to_owned() })
}

/// A P system.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct MembraneSystem(Arc<System>);

#[pymethods]
impl MembraneSystem {
    /// Read a text.
    #[staticmethod]
    fn parse(python: Python<'_>, text: &str) -> PyResult<Self> {
        let parsed = python.detach(|| System::parse(text));
        parsed.map(|system| Self(Arc::new(system))).map_err(|error| errors::system(python, &error))
    }

    /// The system as text.
    #[getter]
    fn text(&self) -> String {
        self.0.to_string()
    }

    #[getter]
    fn symbols(&self) -> Vec<String> {
        self.0.symbols.clone()
    }

    /// Label of the output membrane.
    #[getter]
    fn output(&self) -> Option<String> {
        self.0.output.map(|label| self.0.labels[label].clone())
    }

    #[getter]
    fn rules(&self) -> Vec<String> {
        self.0.rules.iter().map(|rule| self.0.rule(rule)).collect()
    }
}

/// Membranes and objects at a time.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct MembraneConfiguration(Mutex<(Configuration, Choice)>);

impl MembraneConfiguration {
    fn lock(&self) -> MutexGuard<'_, (Configuration, Choice)> {
        // A step that fails leaves the configuration as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl MembraneConfiguration {
    #[new]
    #[pyo3(signature = (system, seed=None))]
    fn new(system: &MembraneSystem, seed: Option<u64>) -> Self {
        let choice = seed.map_or(Choice::InOrder, Choice::Random);
        Self(Mutex::new((Configuration::new(Arc::clone(&system.0)), choice)))
    }

    fn step(&self, python: Python<'_>) -> PyResult<Vec<AppliedTuple>> {
        let step = || {
            let (configuration, choice) = &mut *self.lock();
            configuration.step(choice)
        };
        let applied = python.detach(step).map_err(|error| errors::system(python, &error))?;
        Ok(applied.iter().map(tuple).collect())
    }

    fn run(&self, python: Python<'_>, max_steps: u64) -> PyResult<u64> {
        let run = || {
            let (configuration, choice) = &mut *self.lock();
            configuration.run(choice, max_steps)
        };
        python.detach(run).map_err(|error| errors::system(python, &error))
    }

    fn insert(&self, python: Python<'_>, membrane: u64, name: &str, times: u64) -> PyResult<()> {
        let (configuration, _) = &mut *self.lock();
        let inserted =
            symbol(configuration.system(), name).and_then(|symbol| configuration.insert(membrane, symbol, times));
        inserted.map_err(|error| errors::system(python, &error))
    }

    #[getter]
    fn membranes(&self) -> Vec<NodeTuple> {
        nodes(&self.lock().0)
    }

    #[getter]
    fn halted(&self) -> bool {
        self.lock().0.halted()
    }

    /// Objects of the output membrane, or of the environment; None where there is no such membrane any more.
    fn result(&self, python: Python<'_>) -> PyResult<Option<BTreeMap<String, u64>>> {
        let guard = self.lock();
        let found = guard.0.result().map_err(|error| errors::system(python, &error))?;
        Ok(found.map(|counts| objects(guard.0.system(), &counts)))
    }

    #[getter]
    fn environment(&self) -> BTreeMap<String, u64> {
        let guard = self.lock();
        objects(guard.0.system(), guard.0.environment())
    }
}

/// The health-event algebra.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct HealthSystem(Mutex<Health>);

impl HealthSystem {
    fn lock(&self) -> MutexGuard<'_, Health> {
        // A step that fails leaves the configuration as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl HealthSystem {
    #[new]
    fn new(python: Python<'_>, error: u64, slow: u64, drift: u64, gates: u64) -> PyResult<Self> {
        let made = Health::new(Thresholds { error, slow, drift }, gates);
        made.map(|health| Self(Mutex::new(health))).map_err(|error| errors::system(python, &error))
    }

    /// Surplus that chance passes with the probability of `z`.
    #[staticmethod]
    fn threshold(z: f64, events: u64) -> u64 {
        psystem::threshold(z, events)
    }

    fn membranes(&self, label: &str) -> Vec<u64> {
        self.lock().membranes(label)
    }

    fn record(&self, python: Python<'_>, gate: u64, event: &str, times: u64) -> PyResult<()> {
        let known = Event::ALL.into_iter().find(|known| known.symbol() == event);
        let known = known.ok_or_else(|| errors::ObjectUnknownError::new_err(format!("there is no event {event:?}")))?;
        self.lock().record(gate, known, times).map_err(|error| errors::system(python, &error))
    }

    fn advance(&self, python: Python<'_>) -> PyResult<()> {
        self.lock().advance().map_err(|error| errors::system(python, &error))
    }

    /// Alarms of errors, slowness and drift; and all rule instances by step: membrane, rule as text, times.
    #[allow(clippy::type_complexity, reason = "a tuple that the Python facade takes apart")]
    fn close(&self, python: Python<'_>) -> PyResult<((u64, u64, u64), Vec<Vec<(u64, String, u64)>>)> {
        let mut health = self.lock();
        let (alarms, trace) = health.close().map_err(|error| errors::system(python, &error))?;
        let system = health.configuration().system();
        let named = |one: &Applied| (one.membrane, system.rule(&system.rules[one.rule]), one.times);
        let trace = trace.iter().map(|step| step.iter().map(named).collect()).collect();
        Ok(((alarms.error, alarms.slow, alarms.drift), trace))
    }

    fn start_canary(&self, python: Python<'_>, version: u64) -> PyResult<u64> {
        self.lock().start_canary(version).map_err(|error| errors::system(python, &error))
    }

    fn end_canary(&self, python: Python<'_>, version: u64) -> PyResult<()> {
        self.lock().end_canary(version).map_err(|error| errors::system(python, &error))
    }

    #[getter]
    fn text(&self) -> String {
        self.lock().configuration().system().to_string()
    }
}
