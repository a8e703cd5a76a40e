//! Rules.

use crate::cursor::Cursor;
use crate::error::SystemError;
use crate::lexer::Token;
use crate::syntax::{Body, Bracket, Label, Objects, Product, RuleText};

impl Cursor {
    /// A rule, without the ranges and the semicolon behind it.
    pub fn rule(&mut self) -> Result<RuleText, SystemError> {
        let position = self.position();
        let mut priority = None;
        if self.accept("(") {
            priority = Some(self.expression(0)?);
            self.sign(")")?;
        }
        let around = if matches!(self.peek(), Token::Name(_)) { self.objects()? } else { Vec::new() };
        let charge = self.charge();
        self.sign("[")?;
        let inside = if self.is("]") { Vec::new() } else { self.objects()? };
        if around.is_empty() && !self.is("]") {
            let inner = self.inner()?;
            self.sign("-->")?;
            let right = self.products(&inner)?;
            self.sign("]")?;
            self.sign("'")?;
            let body = Body::Evolve { charge, left: inside, right, label: self.label()? };
            return Ok(RuleText { priority, body, position });
        }
        self.sign("]")?;
        self.sign("'")?;
        let label = self.label()?;
        self.sign("-->")?;
        let before = Bracket { charge, inside, label: None };
        let (after, left_over) = self.result()?;
        Ok(RuleText { priority, body: Body::Transform { around, before, label, after, left_over }, position })
    }

    /// `[]'h1 []'h2`: the inner membranes that an evolution rule of P-Lingua 5 sends into.
    fn inner(&mut self) -> Result<Vec<Label>, SystemError> {
        let mut found = Vec::new();
        while self.accept("[") {
            self.sign("]")?;
            self.sign("'")?;
            found.push(self.label()?);
        }
        Ok(found)
    }

    /// The right side of an evolution; where it names inner membranes, they are those of the left in their order.
    fn products(&mut self, inner: &[Label]) -> Result<Vec<Product>, SystemError> {
        let mut found = if self.accept("#") || self.is("[") { Vec::new() } else { self.list(Self::product)? };
        for expected in inner {
            self.sign("[")?;
            let objects = if self.is("]") { Vec::new() } else { self.objects()? };
            self.sign("]")?;
            self.sign("'")?;
            if self.peek().label() != expected.name {
                return Err(self.unexpected(&format!("'{}, as on the left", expected.name)));
            }
            found.push(Product::Into(objects, self.label()?));
        }
        Ok(found)
    }

    fn product(&mut self) -> Result<Product, SystemError> {
        match self.peek().clone() {
            Token::At(word) if word == "d" => {
                self.next();
                Ok(Product::Dissolve)
            }
            Token::Sign("(") => self.sent(),
            _ => Ok(Product::Here(self.object()?)),
        }
    }

    /// `(a, b, out)` or `(a, b, in label)`.
    fn sent(&mut self) -> Result<Product, SystemError> {
        self.sign("(")?;
        let mut objects = vec![self.object()?];
        loop {
            self.sign(",")?;
            let is_target = !matches!(self.after(), Token::Sign("," | "{" | "*"));
            match self.peek() {
                Token::Name(word) if word == "out" && is_target => {
                    self.next();
                    self.sign(")")?;
                    return Ok(Product::Out(objects));
                }
                Token::Name(word) if word == "in" && is_target && *self.after() != Token::Sign(")") => {
                    self.next();
                    let label = self.label()?;
                    self.sign(")")?;
                    return Ok(Product::Into(objects, label));
                }
                Token::Name(_) => objects.push(self.object()?),
                _ => return Err(self.unexpected("an object, out or in")),
            }
        }
    }

    /// The right side of a rule that changes its membrane.
    fn result(&mut self) -> Result<(Vec<Bracket>, Objects), SystemError> {
        let mut after = Vec::new();
        let mut around = Vec::new();
        while !self.is(";") && !self.is(":") {
            if matches!(self.peek(), Token::Name(_) | Token::Sign("#")) {
                around.extend(self.objects()?);
                continue;
            }
            let charge = self.charge();
            self.sign("[")?;
            let inside = if self.is("]") { Vec::new() } else { self.objects()? };
            self.sign("]")?;
            let label = if self.accept("'") { Some(self.label()?) } else { None };
            after.push(Bracket { charge, inside, label });
        }
        Ok((after, around))
    }
}
