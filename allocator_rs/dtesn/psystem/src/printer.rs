//! A system as text; reading it again gives the same system, but for the numbers of objects and labels.

use std::fmt::{self, Display};

use crate::model::{Action, Charge, Multiset, Rule, System};

impl Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.model.is_empty() {
            writeln!(formatter, "@model<{}>", self.model)?;
        }
        writeln!(formatter, "def main()\n{{")?;
        writeln!(formatter, "    @mu = {};", self.structure(0))?;
        if let Some(output) = self.output {
            writeln!(formatter, "    @mout = {};", self.labels[output])?;
        }
        for (number, label) in self.labels.iter().enumerate() {
            let first = self.membranes.iter().find(|membrane| membrane.label == number);
            if let Some(membrane) = first.filter(|membrane| !membrane.contents.is_empty()) {
                writeln!(formatter, "    @ms({label}) = {};", self.objects(&membrane.contents))?;
            }
        }
        for rule in &self.rules {
            writeln!(formatter, "    {};", self.rule(rule))?;
        }
        writeln!(formatter, "}}")
    }
}

impl System {
    /// A rule as text.
    #[must_use]
    pub fn rule(&self, rule: &Rule) -> String {
        let level = rule.priority.map_or(String::new(), |level| format!("({level}) "));
        let (label, before) = (&self.labels[rule.label], sign(rule.charge));
        let left = self.objects(&rule.left);
        let inside = |objects: &Multiset| if objects.is_empty() { String::new() } else { self.objects(objects) };
        match &rule.action {
            Action::Evolve { here, out, into, dissolve } => {
                let mut parts = Vec::new();
                parts.extend((!here.is_empty()).then(|| self.objects(here)));
                parts.extend((!out.is_empty()).then(|| format!("({}, out)", self.objects(out))));
                let inner = into.iter().filter(|(_, objects)| !objects.is_empty());
                parts
                    .extend(inner.map(|(to, objects)| format!("({}, in {})", self.objects(objects), self.labels[*to])));
                parts.extend(dissolve.then(|| "@d".to_owned()));
                let right = if parts.is_empty() { "#".to_owned() } else { parts.join(", ") };
                format!("{level}{before}[{left} --> {right}]'{label}")
            }
            Action::SendIn { charge, inside: objects } => {
                format!("{level}{left} {before}[]'{label} --> {}[{}]'{label}", sign(*charge), inside(objects))
            }
            Action::SendOut { charge, outside } => {
                format!("{level}{before}[{left}]'{label} --> {}[]'{label} {}", sign(*charge), self.objects(outside))
            }
            Action::Dissolve { outside } => format!("{level}{before}[{left}]'{label} --> {}", self.objects(outside)),
            Action::Divide { first, second } => {
                let part = |part: &(Charge, Multiset)| format!("{}[{}]'{label}", sign(part.0), inside(&part.1));
                format!("{level}{before}[{left}]'{label} --> {} {}", part(first), part(second))
            }
        }
    }

    fn objects(&self, objects: &Multiset) -> String {
        let name = |(symbol, times): &(usize, u64)| match times {
            1 => self.symbols[*symbol].clone(),
            _ => format!("{}*{times}", self.symbols[*symbol]),
        };
        if objects.is_empty() {
            return "#".to_owned();
        }
        // By name: their numbers follow from the order in which a text mentions them, which this very print changes.
        let mut sorted: Vec<_> = objects.iter().collect();
        sorted.sort_by_key(|(symbol, _)| &self.symbols[*symbol]);
        sorted.into_iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Nesting is bounded by the parser.
    fn structure(&self, own: usize) -> String {
        let membrane = &self.membranes[own];
        let inner: String = (own + 1..self.membranes.len())
            .filter(|&other| self.membranes[other].parent == Some(own))
            .map(|other| self.structure(other))
            .collect();
        format!("{}[{inner}]'{}", sign(membrane.charge), self.labels[membrane.label])
    }
}

const fn sign(charge: Charge) -> &'static str {
    match charge {
        Charge::Neutral => "",
        Charge::Positive => "+",
        Charge::Negative => "-",
    }
}
