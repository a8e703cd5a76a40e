//! P systems.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use psystem::{Applied, Charge, Choice, Configuration, Event, Health, System, SystemError, Thresholds};
use pyo3::prelude::*;

use super::errors;
use crate::guard::{detach, locked};

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
        let parsed = detach(python, || System::parse(text))?;
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

#[pymethods]
impl MembraneConfiguration {
    #[new]
    #[pyo3(signature = (system, seed=None))]
    fn new(system: &MembraneSystem, seed: Option<u64>) -> Self {
        let choice = seed.map_or(Choice::InOrder, Choice::Random);
        Self(Mutex::new((Configuration::new(Arc::clone(&system.0)), choice)))
    }

    fn step(&self, python: Python<'_>) -> PyResult<Vec<AppliedTuple>> {
        // A step that fails leaves the configuration as it was.
        let applied = locked(python, &self.0, |(configuration, choice)| configuration.step(choice))?;
        Ok(applied.map_err(|error| errors::system(python, &error))?.iter().map(tuple).collect())
    }

    fn run(&self, python: Python<'_>, max_steps: u64) -> PyResult<u64> {
        locked(python, &self.0, |(configuration, choice)| configuration.run(choice, max_steps))?
            .map_err(|error| errors::system(python, &error))
    }

    fn insert(&self, python: Python<'_>, membrane: u64, name: &str, times: u64) -> PyResult<()> {
        locked(python, &self.0, |(configuration, _)| {
            let symbol = symbol(configuration.system(), name)?;
            configuration.insert(membrane, symbol, times)
        })?
        .map_err(|error| errors::system(python, &error))
    }

    #[getter]
    fn membranes(&self, python: Python<'_>) -> PyResult<Vec<NodeTuple>> {
        locked(python, &self.0, |(configuration, _)| nodes(configuration))
    }

    #[getter]
    fn halted(&self, python: Python<'_>) -> PyResult<bool> {
        locked(python, &self.0, |(configuration, _)| configuration.halted())
    }

    /// Objects of the output membrane, or of the environment; None where there is no such membrane any more.
    fn result(&self, python: Python<'_>) -> PyResult<Option<BTreeMap<String, u64>>> {
        locked(python, &self.0, |(configuration, _)| {
            let counts = configuration.result()?;
            Ok(counts.map(|counts| objects(configuration.system(), &counts)))
        })?
        .map_err(|error: SystemError| errors::system(python, &error))
    }

    #[getter]
    fn environment(&self, python: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        locked(python, &self.0, |(configuration, _)| objects(configuration.system(), configuration.environment()))
    }
}

/// Rule instances of a step with their rules as text.
type NamedStep = Vec<(u64, String, u64)>;

/// The health-event algebra.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct HealthSystem(Mutex<Health>);

impl HealthSystem {
    /// Work on the algebra; a step that fails leaves it as it was.
    fn with<T: Send>(
        &self,
        python: Python<'_>,
        work: impl FnOnce(&mut Health) -> Result<T, SystemError> + Send,
    ) -> PyResult<T> {
        locked(python, &self.0, work)?.map_err(|error| errors::system(python, &error))
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

    fn membranes(&self, python: Python<'_>, label: &str) -> PyResult<Vec<u64>> {
        self.with(python, |health| Ok(health.membranes(label)))
    }

    fn record(&self, python: Python<'_>, gate: u64, event: &str, times: u64) -> PyResult<()> {
        let known = Event::ALL.into_iter().find(|known| known.symbol() == event);
        let known = known.ok_or_else(|| errors::ObjectUnknownError::new_err(format!("there is no event {event:?}")))?;
        self.with(python, |health| health.record(gate, known, times))
    }

    fn advance(&self, python: Python<'_>) -> PyResult<()> {
        self.with(python, Health::advance)
    }

    /// Alarms of errors, slowness and drift; and all rule instances by step: membrane, rule as text, times.
    fn close(&self, python: Python<'_>) -> PyResult<((u64, u64, u64), Vec<NamedStep>)> {
        self.with(python, |health| {
            let (alarms, trace) = health.close()?;
            let system = health.configuration().system();
            let named = |one: &Applied| (one.membrane, system.rule(&system.rules[one.rule]), one.times);
            let trace = trace.iter().map(|step| step.iter().map(named).collect()).collect();
            Ok(((alarms.error, alarms.slow, alarms.drift), trace))
        })
    }

    fn start_canary(&self, python: Python<'_>, version: u64) -> PyResult<u64> {
        self.with(python, |health| health.start_canary(version))
    }

    fn end_canary(&self, python: Python<'_>, version: u64) -> PyResult<()> {
        self.with(python, |health| health.end_canary(version))
    }

    #[getter]
    fn text(&self, python: Python<'_>) -> PyResult<String> {
        self.with(python, |health| Ok(health.configuration().system().to_string()))
    }
}
