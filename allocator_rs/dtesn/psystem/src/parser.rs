//! From words to statements.
//!
//! The subset: `@model<name>` (or `@variant<name>`), modules `def name(parameters) { … }` of which `main` is run, `@mu`,
//! `@ms(label) =` and `+=`, `let`, `call`, rules, groups `{ … } : ranges;`, and ranges `low <= i <= high`. Rules are those of
//! P systems with active membranes as P-Lingua writes them; evolution rules of transition P systems may besides say `(u, out)`,
//! `(u, in label)` and `@d` on the right, and any rule may be led by its priority in parentheses, 1 the highest.

use crate::lexer::{Token, tokens};
use crate::model::Charge;
use crate::syntax::{Body, Bracket, Expression, Label, Module, Nest, Object, Objects, Product, Range, RuleText};
use crate::syntax::{Statement, Text};
use crate::{Position, SystemError};

/// Membranes, parentheses and groups are not nested deeper; and no sum or product is longer.
pub const MAX_NESTING: usize = 64;

/// Read a text.
pub fn parse(text: &str) -> Result<Text, SystemError> {
    let mut parser = Parser { tokens: tokens(text)?, place: 0 };
    let mut model = String::new();
    let mut modules = Vec::new();
    loop {
        match parser.peek().clone() {
            Token::End => return Ok(Text { model, modules }),
            Token::At(word) if word == "model" || word == "variant" => {
                parser.next();
                parser.sign("<")?;
                model = parser.name("a model")?;
                parser.sign(">")?;
            }
            Token::Name(word) if word == "def" => modules.push(parser.module()?),
            _ => return Err(parser.unexpected("@model or def")),
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Position)>,
    place: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.place).map_or(&Token::End, |(token, _)| token)
    }

    fn position(&self) -> Position {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.place.min(last)).map_or(Position { line: 1, column: 1 }, |(_, position)| *position)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.place += 1;
        token
    }

    fn unexpected(&self, expected: &str) -> SystemError {
        let what = format!("found {}, expected {expected}", self.peek().text());
        SystemError::Syntax { position: self.position(), what }
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.place += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> Result<(), SystemError> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("{sign:?}"))) }
    }

    fn name(&mut self, what: &str) -> Result<String, SystemError> {
        match self.peek().clone() {
            Token::Name(name) => {
                self.place += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn deep(&self, depth: usize) -> Result<usize, SystemError> {
        if depth >= MAX_NESTING {
            return Err(SystemError::TooDeep { position: self.position(), limit: MAX_NESTING });
        }
        Ok(depth + 1)
    }

    /// Elements with commas in between.
    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T, SystemError>) -> Result<Vec<T>, SystemError> {
        let mut found = vec![element(self)?];
        while self.accept(",") {
            found.push(element(self)?);
        }
        Ok(found)
    }

    fn module(&mut self) -> Result<Module, SystemError> {
        self.next();
        let name = self.name("a module's name")?;
        self.sign("(")?;
        let parameters = if self.is(")") { Vec::new() } else { self.list(|parser| parser.name("a parameter"))? };
        self.sign(")")?;
        self.sign("{")?;
        let statements = self.statements(0)?;
        Ok(Module { name, parameters, statements })
    }

    /// Up to and with the closing brace.
    fn statements(&mut self, depth: usize) -> Result<Vec<Statement>, SystemError> {
        let depth = self.deep(depth)?;
        let mut found = Vec::new();
        while !self.accept("}") {
            found.push(self.statement(depth)?);
        }
        Ok(found)
    }

    fn statement(&mut self, depth: usize) -> Result<Statement, SystemError> {
        let position = self.position();
        let statement = match self.peek().clone() {
            Token::At(word) if word == "mu" => {
                self.next();
                self.sign("=")?;
                Statement::Structure(self.nest(0)?)
            }
            Token::At(word) if word == "ms" => self.contents()?,
            Token::Name(word) if word == "let" => {
                self.next();
                let name = self.name("a variable")?;
                self.sign("=")?;
                Statement::Let(name, self.expression(0)?)
            }
            Token::Name(word) if word == "call" => {
                self.next();
                let name = self.name("a module")?;
                self.sign("(")?;
                let arguments = if self.is(")") { Vec::new() } else { self.list(|parser| parser.expression(0))? };
                self.sign(")")?;
                Statement::Call { name, arguments, position }
            }
            Token::Sign("{") => {
                self.next();
                let statements = self.statements(depth)?;
                Statement::Group { statements, ranges: self.ranges()? }
            }
            _ => Statement::Rule { rule: self.rule()?, ranges: self.ranges()? },
        };
        self.sign(";")?;
        Ok(statement)
    }

    fn contents(&mut self) -> Result<Statement, SystemError> {
        self.next();
        self.sign("(")?;
        let label = self.label()?;
        self.sign(")")?;
        let add = self.accept("+=");
        if !add {
            self.sign("=")?;
        }
        let objects = self.objects()?;
        Ok(Statement::Contents { label, objects, add, ranges: self.ranges()? })
    }

    fn nest(&mut self, depth: usize) -> Result<Nest, SystemError> {
        let depth = self.deep(depth)?;
        let charge = self.charge();
        self.sign("[")?;
        let mut inner = Vec::new();
        while !self.accept("]") {
            inner.push(self.nest(depth)?);
            self.accept(",");
        }
        self.sign("'")?;
        Ok(Nest { charge, label: self.label()?, inner })
    }

    fn charge(&mut self) -> Charge {
        if self.accept("+") {
            Charge::Positive
        } else if self.accept("-") {
            Charge::Negative
        } else {
            Charge::Neutral
        }
    }

    fn label(&mut self) -> Result<Label, SystemError> {
        let position = self.position();
        let name = match self.peek().clone() {
            Token::Name(name) => name,
            Token::Number(number) => number.to_string(),
            _ => return Err(self.unexpected("a membrane's label")),
        };
        self.place += 1;
        Ok(Label { name, position })
    }

    fn objects(&mut self) -> Result<Objects, SystemError> {
        if self.accept("#") {
            return Ok(Vec::new());
        }
        self.list(Self::object)
    }

    fn object(&mut self) -> Result<Object, SystemError> {
        let position = self.position();
        let name = self.name("an object")?;
        let mut indices = Vec::new();
        if self.accept("{") {
            indices = self.list(|parser| parser.expression(0))?;
            self.sign("}")?;
        }
        let times = if self.accept("*") { Some(self.factor(0)?) } else { None };
        Ok(Object { name, indices, times, position })
    }

    fn ranges(&mut self) -> Result<Vec<Range>, SystemError> {
        if !self.accept(":") {
            return Ok(Vec::new());
        }
        self.list(|parser| {
            let low = parser.expression(0)?;
            let above = parser.less()?;
            let name = parser.name("a variable")?;
            let below = parser.less()?;
            Ok(Range { name, low, above, high: parser.expression(0)?, below })
        })
    }

    /// Whether it is `<`; else it is `<=`.
    fn less(&mut self) -> Result<bool, SystemError> {
        if self.accept("<") {
            return Ok(true);
        }
        self.sign("<=").map(|()| false)
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, SystemError> {
        let mut left = self.term(depth)?;
        let mut length = 0;
        while self.is("+") || self.is("-") {
            length = self.deep(length)?;
            let position = self.position();
            let operator = if self.next() == Token::Sign("+") { '+' } else { '-' };
            left = Expression::Binary(operator, Box::new((left, self.term(depth)?)), position);
        }
        Ok(left)
    }

    fn term(&mut self, depth: usize) -> Result<Expression, SystemError> {
        let mut left = self.factor(depth)?;
        let mut length = 0;
        while self.is("*") {
            length = self.deep(length)?;
            let position = self.position();
            self.next();
            left = Expression::Binary('*', Box::new((left, self.factor(depth)?)), position);
        }
        Ok(left)
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, SystemError> {
        let depth = self.deep(depth)?;
        let position = self.position();
        match self.peek().clone() {
            Token::Number(number) => {
                self.place += 1;
                Ok(Expression::Number(number))
            }
            Token::Name(name) => {
                self.place += 1;
                Ok(Expression::Name(name, position))
            }
            Token::Sign("-") => {
                self.place += 1;
                let pair = (Expression::Number(0), self.factor(depth)?);
                Ok(Expression::Binary('-', Box::new(pair), position))
            }
            Token::Sign("(") => {
                self.place += 1;
                let inner = self.expression(depth)?;
                self.sign(")")?;
                Ok(inner)
            }
            _ => Err(self.unexpected("a number")),
        }
    }

    fn rule(&mut self) -> Result<RuleText, SystemError> {
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
        if around.is_empty() && self.accept("-->") {
            let right = if self.accept("#") { Vec::new() } else { self.list(Self::product)? };
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

    fn product(&mut self) -> Result<Product, SystemError> {
        match self.peek().clone() {
            Token::At(word) if word == "d" => {
                self.place += 1;
                Ok(Product::Dissolve)
            }
            Token::Sign("(") => {
                self.place += 1;
                let mut objects = vec![self.object()?];
                self.sign(",")?;
                loop {
                    let target = self.name("an object, out or in")?;
                    let ends = self.is(")") || !(self.is(",") || self.is("{") || self.is("*"));
                    if target == "out" && ends {
                        self.sign(")")?;
                        return Ok(Product::Out(objects));
                    }
                    if target == "in" && ends {
                        let label = self.label()?;
                        self.sign(")")?;
                        return Ok(Product::Into(objects, label));
                    }
                    self.place -= 1;
                    objects.push(self.object()?);
                    self.sign(",")?;
                }
            }
            _ => Ok(Product::Here(self.object()?)),
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
