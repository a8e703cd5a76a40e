//! The health-event algebra: errors, slowness and drift of two versions, cancelled against each other epoch by epoch.
//!
//! The membranes are model > version > instance > gate. An event enters at its gate's membrane and climbs to the skin; an
//! epoch ends with a `close` that enters after all have climbed. In the skin strong priority gives the order: events of old
//! and new cancel, then `theta` surplus events of the new version give an alarm, then the residue is discarded. So an epoch
//! gives floor(max(0, new - old) / theta) alarms, whatever the order of arrival. Without the epoch it would be a recurrent
//! random walk, which alarms with certainty in the end.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::configuration::Configuration;
use crate::engine::{Applied, Choice};
use crate::error::SystemError;
use crate::model::System;

/// An epoch's steps beyond the climb: cancel, settle, alarm, discard, reset, and some that only hold.
const CLOSING_STEPS: u64 = 16;
const HEIGHT: u64 = 4;

/// What happened in a matched pair of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The old version erred.
    OldError,
    /// The new version erred.
    NewError,
    /// The old version was slow.
    OldSlow,
    /// The new version was slow.
    NewSlow,
    /// The old version drifted.
    OldDrift,
    /// The new version drifted.
    NewDrift,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OldError, Self::NewError, Self::OldSlow, Self::NewSlow, Self::OldDrift, Self::NewDrift];

    /// The object.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::OldError => "old_error",
            Self::NewError => "new_error",
            Self::OldSlow => "old_slow",
            Self::NewSlow => "new_slow",
            Self::OldDrift => "old_drift",
            Self::NewDrift => "new_drift",
        }
    }
}

/// Surplus events of the new version that make an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Of errors.
    pub error: u64,
    /// Of slow answers.
    pub slow: u64,
    /// Of drift.
    pub drift: u64,
}

/// Alarms of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alarms {
    /// Of errors.
    pub error: u64,
    /// Of slow answers.
    pub slow: u64,
    /// Of drift.
    pub drift: u64,
}

/// The shipped system as text: one version with one instance of `gates` gates.
///
/// # Errors
/// [`SystemError::Threshold`].
pub fn health_text(thresholds: Thresholds, gates: u64) -> Result<String, SystemError> {
    let kinds = [("error", thresholds.error), ("slow", thresholds.slow), ("drift", thresholds.drift)];
    for (name, value) in kinds.into_iter().chain([("gates", gates)]) {
        let limit = if name == "gates" { 64 } else { 1_000_000 };
        if !(1..=limit).contains(&value) {
            return Err(SystemError::Threshold { name, value });
        }
    }
    let gates = "[]'gate".repeat(usize::try_from(gates).unwrap_or(1));
    let mut text = format!(
        "@model<transition_psystem>\ndef main()\n{{\n    @mu = [[[{gates}]'instance]'version]'model;\n    @ms(model) = open;\n"
    );
    for label in ["gate", "instance", "version"] {
        for event in Event::ALL {
            let symbol = event.symbol();
            let _ = writeln!(text, "    (1) [{symbol} --> ({symbol}, out)]'{label};");
        }
    }
    text += "    [start]'version --> []'version []'version;\n";
    for label in ["version", "instance", "gate"] {
        let _ = writeln!(text, "    [end --> @d]'{label};");
    }
    text += "    (1) [open, close --> settle]'model;\n";
    for (kind, _) in kinds {
        let _ = writeln!(text, "    (1) [old_{kind}, new_{kind} --> #]'model;");
    }
    text += "    (2) [open --> open]'model;\n";
    for (kind, theta) in kinds {
        let _ = writeln!(text, "    (3) [new_{kind}*{theta} --> (alarm_{kind}, out)]'model;");
    }
    for event in Event::ALL {
        let _ = writeln!(text, "    (4) [{} --> #]'model;", event.symbol());
    }
    text += "    (5) [settle --> open]'model;\n}\n";
    Ok(text)
}

/// The health tree of a model.
#[derive(Debug, Clone)]
pub struct Health {
    configuration: Configuration,
    symbols: [usize; 6],
    pending: u64,
    trace: Vec<Vec<Applied>>,
}

impl Health {
    /// One version with one instance of so many gates.
    ///
    /// # Errors
    /// [`SystemError::Threshold`].
    pub fn new(thresholds: Thresholds, gates: u64) -> Result<Self, SystemError> {
        let system = Arc::new(System::parse(&health_text(thresholds, gates)?)?);
        let mut symbols = [0; 6];
        for (to, event) in symbols.iter_mut().zip(Event::ALL) {
            *to = find(&system, event.symbol())?;
        }
        Ok(Self { configuration: Configuration::new(system), symbols, pending: 0, trace: Vec::new() })
    }

    /// Membranes and objects.
    #[must_use]
    pub const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Ids of the membranes with a label: `version`, `instance` or `gate`.
    #[must_use]
    pub fn membranes(&self, label: &str) -> Vec<u64> {
        let number = self.configuration.system().label(label);
        let nodes = self.configuration.nodes().iter();
        nodes.filter(|node| Some(node.label) == number).map(|node| node.id).collect()
    }

    /// Events enter at a gate.
    ///
    /// # Errors
    /// [`SystemError::Unknown`] where it is no gate's id, and [`SystemError::Overflow`].
    pub fn record(&mut self, gate: u64, event: Event, times: u64) -> Result<(), SystemError> {
        if !self.membranes("gate").contains(&gate) {
            return Err(SystemError::Unknown { what: "gate", value: gate.to_string() });
        }
        let place = Event::ALL.iter().position(|known| *known == event).unwrap_or(0);
        self.configuration.insert(gate, self.symbols[place], times)?;
        self.pending = self.pending.saturating_add(times);
        Ok(())
    }

    /// One step of the system: events climb by one membrane.
    ///
    /// # Errors
    /// [`SystemError::Overflow`].
    pub fn advance(&mut self) -> Result<(), SystemError> {
        let applied = self.configuration.step(&mut Choice::InOrder)?;
        if self.pending > 0 {
            self.trace.push(applied);
        }
        Ok(())
    }

    /// End the epoch: all events climb, then `close` enters, and what surplus there is becomes alarms. With the rule
    /// instances of all steps since the first event.
    ///
    /// # Errors
    /// [`SystemError::NotHalted`], which would be an error of the system's, and [`SystemError::Overflow`].
    pub fn close(&mut self) -> Result<(Alarms, Vec<Vec<Applied>>), SystemError> {
        for _ in 0..HEIGHT {
            self.advance()?;
        }
        let system = Arc::clone(self.configuration.system());
        let (open, close) = (find(&system, "open")?, find(&system, "close")?);
        let before = self.alarms(&system)?;
        let skin = self.configuration.nodes()[0].id;
        self.configuration.insert(skin, close, 1)?;
        // The first step takes `open`; when it is back, the epoch is over.
        for _ in 0..CLOSING_STEPS {
            let applied = self.configuration.step(&mut Choice::InOrder)?;
            self.trace.push(applied);
            if self.configuration.contents(0)[open] == 1 && self.configuration.contents(0)[close] == 0 {
                let after = self.alarms(&system)?;
                self.pending = 0;
                let alarms = Alarms {
                    error: after.error - before.error,
                    slow: after.slow - before.slow,
                    drift: after.drift - before.drift,
                };
                return Ok((alarms, std::mem::take(&mut self.trace)));
            }
        }
        Err(SystemError::NotHalted { steps: CLOSING_STEPS })
    }

    /// A canary begins: the version's membrane divides. Returns the new one's id.
    ///
    /// # Errors
    /// [`SystemError::EpochOpen`] and [`SystemError::Unknown`].
    pub fn start_canary(&mut self, version: u64) -> Result<u64, SystemError> {
        let before = self.membranes("version");
        self.change(&[version], &before, "start")?;
        let new = self.membranes("version").into_iter().find(|id| !before.contains(id));
        new.ok_or(SystemError::Unknown { what: "version", value: version.to_string() })
    }

    /// A canary ends: the version's membrane dissolves, with those in it.
    ///
    /// # Errors
    /// [`SystemError::EpochOpen`] and [`SystemError::Unknown`].
    pub fn end_canary(&mut self, version: u64) -> Result<(), SystemError> {
        let nodes = self.configuration.nodes();
        let mut inside = vec![false; nodes.len()];
        for (number, node) in nodes.iter().enumerate() {
            inside[number] = node.id == version || (number > 0 && inside[node.parent]);
        }
        let ids: Vec<u64> = nodes.iter().zip(inside).filter(|(_, inside)| *inside).map(|(node, _)| node.id).collect();
        self.change(&ids, &self.membranes("version"), "end")
    }

    fn change(&mut self, membranes: &[u64], versions: &[u64], symbol: &str) -> Result<(), SystemError> {
        if self.pending > 0 {
            return Err(SystemError::EpochOpen { events: self.pending });
        }
        let version = membranes.first().copied().unwrap_or(u64::MAX);
        if !versions.contains(&version) {
            return Err(SystemError::Unknown { what: "version", value: version.to_string() });
        }
        let symbol = find(self.configuration.system(), symbol)?;
        let mut next = self.configuration.clone();
        for &membrane in membranes {
            next.insert(membrane, symbol, 1)?;
        }
        next.step(&mut Choice::InOrder)?;
        self.configuration = next;
        Ok(())
    }

    fn alarms(&self, system: &System) -> Result<Alarms, SystemError> {
        let outside = self.configuration.environment();
        let count = |name: &str| find(system, name).map(|symbol| outside[symbol]);
        Ok(Alarms { error: count("alarm_error")?, slow: count("alarm_slow")?, drift: count("alarm_drift")? })
    }
}

fn find(system: &System, name: &str) -> Result<usize, SystemError> {
    system.symbol(name).ok_or_else(|| SystemError::Unknown { what: "object", value: name.to_owned() })
}
