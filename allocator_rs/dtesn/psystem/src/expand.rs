//! From statements to a system: parameters and ranges are put in, names become numbers.

use std::collections::{BTreeMap, HashMap};

use crate::configuration::{MAX_CELLS, MAX_MEMBRANES};
use crate::error::{Position, SystemError};
use crate::model::{Action, Membrane, Multiset, Rule, System};
use crate::parser::parse;
use crate::syntax::{Body, Bracket, Expression, Label, Module, Nest, Object, Objects, Product, Range, RuleText};
use crate::syntax::{Statement, Text};

/// Rules, repetitions of ranges, and calls.
const MAX_EXPANSION: usize = 100_000;
const MAX_SYMBOLS: usize = 1 << 14;
const MAX_CALLS: usize = 16;

type Values = HashMap<String, i64>;

impl System {
    /// Read a system from a text in the P-Lingua subset.
    ///
    /// # Errors
    /// [`SystemError`] with the position in the text.
    pub fn parse(text: &str) -> Result<Self, SystemError> {
        let text = parse(text)?;
        let model = text.model.clone();
        let empty = Self { model, symbols: vec![], labels: vec![], membranes: vec![], rules: vec![], output: None };
        let mut builder = Builder {
            text: &text,
            system: empty,
            symbols: HashMap::new(),
            contents: BTreeMap::new(),
            work: 0,
            structured: false,
        };
        // The structure is needed first, wherever it stands.
        builder.call("main", &[], Position { line: 1, column: 1 }, 0, Pass::Structure)?;
        if !builder.structured {
            return Err(fault(Position { line: 1, column: 1 }, "there is no @mu"));
        }
        builder.work = 0;
        builder.call("main", &[], Position { line: 1, column: 1 }, 0, Pass::Rest)?;
        builder.finish()
    }
}

fn fault(position: Position, what: impl Into<String>) -> SystemError {
    SystemError::Syntax { position, what: what.into() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Structure,
    Rest,
}

struct Builder<'a> {
    text: &'a Text,
    system: System,
    symbols: HashMap<String, usize>,
    /// Objects by label and symbol.
    contents: BTreeMap<(usize, usize), u64>,
    work: usize,
    structured: bool,
}

impl Builder<'_> {
    fn call(
        &mut self,
        name: &str,
        arguments: &[i64],
        position: Position,
        depth: usize,
        pass: Pass,
    ) -> Result<(), SystemError> {
        if depth >= MAX_CALLS {
            return Err(SystemError::TooDeep { position, limit: MAX_CALLS });
        }
        self.count()?;
        let text = self.text;
        let module: Option<&Module> = text.modules.iter().find(|module| module.name == name);
        let module = module.ok_or_else(|| fault(position, format!("there is no module {name:?}")))?;
        if module.parameters.len() != arguments.len() {
            let expected = module.parameters.len();
            return Err(fault(position, format!("{name:?} takes {expected} arguments, not {}", arguments.len())));
        }
        let mut values: Values = module.parameters.iter().cloned().zip(arguments.iter().copied()).collect();
        self.statements(&module.statements, &mut values, depth, pass)
    }

    fn statements(
        &mut self,
        statements: &[Statement],
        values: &mut Values,
        depth: usize,
        pass: Pass,
    ) -> Result<(), SystemError> {
        for statement in statements {
            match statement {
                Statement::Structure(nest) => {
                    if pass == Pass::Structure {
                        self.structure(nest)?;
                    }
                }
                Statement::Let(name, expression) => {
                    let value = evaluate(expression, values)?;
                    values.insert(name.clone(), value);
                }
                Statement::Call { name, arguments, position } => {
                    let arguments: Result<Vec<_>, _> = arguments.iter().map(|one| evaluate(one, values)).collect();
                    self.call(name, &arguments?, *position, depth + 1, pass)?;
                }
                Statement::Group { statements, ranges } => {
                    let mut visit =
                        |builder: &mut Self, values: &mut Values| builder.statements(statements, values, depth, pass);
                    self.each(ranges, values, &mut visit)?;
                }
                Statement::Output(_) | Statement::Contents { .. } | Statement::Rule { .. }
                    if pass == Pass::Structure => {}
                Statement::Output(label) => self.output(label)?,
                Statement::Contents { label, objects, add, ranges } => {
                    let label = self.label(label)?;
                    if !add {
                        self.contents.retain(|(known, _), _| *known != label);
                    }
                    let mut visit = |builder: &mut Self, values: &mut Values| {
                        for (symbol, times) in builder.multiset(objects, values)? {
                            let count = builder.contents.entry((label, symbol)).or_insert(0);
                            *count = count.saturating_add(times);
                        }
                        Ok(())
                    };
                    self.each(ranges, values, &mut visit)?;
                }
                Statement::Rule { rule, ranges } => {
                    let mut visit = |builder: &mut Self, values: &mut Values| builder.rule(rule, values);
                    self.each(ranges, values, &mut visit)?;
                }
            }
        }
        Ok(())
    }

    /// Once for each value of the ranges, the first the outermost; later ranges may use earlier names and the reverse.
    fn each(
        &mut self,
        ranges: &[Range],
        values: &mut Values,
        visit: &mut dyn FnMut(&mut Self, &mut Values) -> Result<(), SystemError>,
    ) -> Result<(), SystemError> {
        // A bound may name another range's variable: take first a range whose bounds are known.
        let ready = |range: &Range| evaluate(&range.low, values).is_ok() && evaluate(&range.high, values).is_ok();
        let Some(place) = ranges.iter().position(ready).or(if ranges.is_empty() { None } else { Some(0) }) else {
            return visit(self, values);
        };
        let range = &ranges[place];
        let rest: Vec<_> = ranges[..place].iter().chain(&ranges[place + 1..]).cloned().collect();
        let low = evaluate(&range.low, values)?.saturating_add(i64::from(range.above));
        let high = evaluate(&range.high, values)?.saturating_sub(i64::from(range.below));
        let before = values.get(&range.name).copied();
        for value in low..=high {
            self.count()?;
            values.insert(range.name.clone(), value);
            self.each(&rest, values, visit)?;
        }
        match before {
            Some(value) => values.insert(range.name.clone(), value),
            None => values.remove(&range.name),
        };
        Ok(())
    }

    /// Bounds what a short text can ask for.
    const fn count(&mut self) -> Result<(), SystemError> {
        self.work += 1;
        if self.work > MAX_EXPANSION {
            return Err(SystemError::TooLarge { what: "what calls and ranges expand to", limit: MAX_EXPANSION });
        }
        Ok(())
    }

    fn structure(&mut self, nest: &Nest) -> Result<(), SystemError> {
        if self.structured {
            return Err(fault(nest.label.position, "@mu stands twice"));
        }
        self.structured = true;
        self.membrane(nest, None);
        Ok(())
    }

    fn output(&mut self, label: &Label) -> Result<(), SystemError> {
        let number = self.label(label)?;
        if self.system.output.replace(number).is_some() {
            return Err(fault(label.position, "@mout stands twice"));
        }
        Ok(())
    }

    /// Nesting is bounded by the parser.
    fn membrane(&mut self, nest: &Nest, parent: Option<usize>) {
        let label = self.system.label(&nest.label.name).unwrap_or_else(|| {
            self.system.labels.push(nest.label.name.clone());
            self.system.labels.len() - 1
        });
        let own = self.system.membranes.len();
        self.system.membranes.push(Membrane { label, charge: nest.charge, parent, contents: Vec::new() });
        nest.inner.iter().for_each(|inner| self.membrane(inner, Some(own)));
    }

    fn label(&self, label: &Label) -> Result<usize, SystemError> {
        let Label { name, position } = label;
        let undefined = || SystemError::MembraneUndefined { position: *position, label: name.clone() };
        self.system.label(name).ok_or_else(undefined)
    }

    fn multiset(&mut self, objects: &Objects, values: &Values) -> Result<Multiset, SystemError> {
        let mut found: BTreeMap<usize, u64> = BTreeMap::new();
        for object in objects {
            let times = object.times.as_ref().map_or(Ok(1), |times| evaluate(times, values))?;
            let times = u64::try_from(times).map_err(|_| fault(object.position, "a multiplicity is negative"))?;
            let symbol = self.symbol(object, values)?;
            if times > 0 {
                let count = found.entry(symbol).or_insert(0);
                *count = count.saturating_add(times);
            }
        }
        Ok(found.into_iter().collect())
    }

    fn symbol(&mut self, object: &Object, values: &Values) -> Result<usize, SystemError> {
        let mut name = object.name.clone();
        if !object.indices.is_empty() {
            let indices: Result<Vec<_>, _> =
                object.indices.iter().map(|index| evaluate(index, values).map(|value| value.to_string())).collect();
            name = format!("{name}{{{}}}", indices?.join(","));
        }
        if let Some(known) = self.symbols.get(&name) {
            return Ok(*known);
        }
        let number = self.system.symbols.len();
        if number == MAX_SYMBOLS {
            return Err(SystemError::TooLarge { what: "the alphabet", limit: MAX_SYMBOLS });
        }
        self.system.symbols.push(name.clone());
        self.symbols.insert(name, number);
        Ok(number)
    }

    fn rule(&mut self, text: &RuleText, values: &Values) -> Result<(), SystemError> {
        self.count()?;
        let level = text.priority.as_ref().map(|level| evaluate(level, values)).transpose()?;
        let checked = level.map(|level| u32::try_from(level).ok().filter(|level| (1..u32::MAX).contains(level)));
        let priority = match checked {
            Some(None) => return Err(fault(text.position, "a priority is 1 or more")),
            Some(level) => level,
            None => None,
        };
        let (charge, label, left, action) = match &text.body {
            Body::Evolve { charge, left, right, label } => {
                let label = self.label(label)?;
                (*charge, label, self.multiset(left, values)?, self.evolution(right, values)?)
            }
            Body::Transform { around, before, label, after, left_over } => {
                let number = self.label(label)?;
                for other in after.iter().filter_map(|bracket| bracket.label.as_ref()) {
                    if self.label(other)? != number {
                        return Err(fault(other.position, format!("the rule is of membrane '{}", label.name)));
                    }
                }
                let inside = self.multiset(&before.inside, values)?;
                let around = self.multiset(around, values)?;
                let (left, action) = self.transform(text.position, around, inside, (after, left_over), values)?;
                (before.charge, number, left, action)
            }
        };
        if left.is_empty() {
            return Err(fault(text.position, "a rule that takes nothing would never end"));
        }
        let rule = Rule { label, charge, priority, left, action };
        let skin = self.system.membranes.first().map(|membrane| membrane.label);
        if rule.is_structural() && skin == Some(label) {
            return Err(fault(text.position, "the skin neither dissolves nor divides"));
        }
        if matches!(rule.action, Action::SendIn { .. }) && skin == Some(label) {
            return Err(fault(text.position, "nothing is sent into the skin"));
        }
        self.system.rules.push(rule);
        Ok(())
    }

    fn evolution(&mut self, right: &[Product], values: &Values) -> Result<Action, SystemError> {
        let (mut here, mut out, mut into, mut dissolve) = (Vec::new(), Vec::new(), Vec::new(), false);
        for product in right {
            match product {
                Product::Here(object) => here.push(object.clone()),
                Product::Out(objects) => out.extend(objects.iter().cloned()),
                Product::Into(objects, label) => into.push((self.label(label)?, self.multiset(objects, values)?)),
                Product::Dissolve => dissolve = true,
            }
        }
        Ok(Action::Evolve { here: self.multiset(&here, values)?, out: self.multiset(&out, values)?, into, dissolve })
    }

    fn transform(
        &mut self,
        position: Position,
        around: Multiset,
        inside: Multiset,
        result: (&[Bracket], &Objects),
        values: &Values,
    ) -> Result<(Multiset, Action), SystemError> {
        let (after, left_over) = result;
        let outside = self.multiset(left_over, values)?;
        let mut parts = Vec::new();
        for bracket in after {
            parts.push((bracket.charge, self.multiset(&bracket.inside, values)?));
        }
        match (around.is_empty(), parts.as_slice()) {
            (false, [(charge, objects)]) if inside.is_empty() && outside.is_empty() => {
                Ok((around, Action::SendIn { charge: *charge, inside: objects.clone() }))
            }
            (true, []) => Ok((inside, Action::Dissolve { outside })),
            (true, [(charge, objects)]) if objects.is_empty() => {
                Ok((inside, Action::SendOut { charge: *charge, outside }))
            }
            (true, [first, second]) if outside.is_empty() => {
                Ok((inside, Action::Divide { first: first.clone(), second: second.clone() }))
            }
            _ => Err(fault(position, "this is none of: send in, send out, dissolve, divide")),
        }
    }

    fn finish(mut self) -> Result<System, SystemError> {
        for ((label, symbol), times) in self.contents {
            for membrane in self.system.membranes.iter_mut().filter(|membrane| membrane.label == label) {
                membrane.contents.push((symbol, times));
            }
        }
        let cells = self.system.membranes.len().saturating_mul(self.system.symbols.len());
        if self.system.membranes.len() > MAX_MEMBRANES || cells > MAX_CELLS {
            return Err(SystemError::TooLarge { what: "the structure", limit: MAX_MEMBRANES });
        }
        Ok(self.system)
    }
}

fn evaluate(expression: &Expression, values: &Values) -> Result<i64, SystemError> {
    match expression {
        Expression::Number(number) => Ok(*number),
        Expression::Name(name, position) => {
            values.get(name).copied().ok_or_else(|| fault(*position, format!("{name:?} has no value here")))
        }
        Expression::Binary(operator, sides, position) => {
            let (left, right) = (evaluate(&sides.0, values)?, evaluate(&sides.1, values)?);
            let result = match operator {
                '+' => left.checked_add(right),
                '-' => left.checked_sub(right),
                _ => left.checked_mul(right),
            };
            result.ok_or_else(|| fault(*position, "a number is over 63 bits"))
        }
    }
}
