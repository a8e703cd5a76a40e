//! A place in the words of a text, and what statements and rules have in common: labels, objects, expressions.

use crate::error::{Position, SystemError};
use crate::lexer::{Token, tokens};
use crate::model::Charge;
use crate::syntax::{Expression, Label, Object, Objects};

/// Membranes, parentheses and groups are not nested deeper; and no sum or product is longer.
pub const MAX_NESTING: usize = 64;

/// Goes through the words.
pub struct Cursor {
    tokens: Vec<(Token, Position)>,
    place: usize,
}

impl Cursor {
    /// At the first word.
    pub fn new(text: &str) -> Result<Self, SystemError> {
        Ok(Self { tokens: tokens(text)?, place: 0 })
    }

    /// The word here.
    pub fn peek(&self) -> &Token {
        self.tokens.get(self.place).map_or(&Token::End, |(token, _)| token)
    }

    /// The word behind it.
    pub fn after(&self) -> &Token {
        self.tokens.get(self.place.saturating_add(1)).map_or(&Token::End, |(token, _)| token)
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.place.min(last)).map_or(Position { line: 1, column: 1 }, |(_, position)| *position)
    }

    /// Take the word.
    pub fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.place += 1;
        token
    }

    /// An error about the word here.
    pub fn unexpected(&self, expected: &str) -> SystemError {
        let what = format!("found {}, expected {expected}", self.peek().text());
        SystemError::Syntax { position: self.position(), what }
    }

    /// Whether the word here is this sign.
    pub fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    /// Take a sign if it is there.
    pub fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.place += usize::from(found);
        found
    }

    /// Take a sign that must be there.
    pub fn sign(&mut self, sign: &str) -> Result<(), SystemError> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("{sign:?}"))) }
    }

    /// Take a name.
    pub fn name(&mut self, what: &str) -> Result<String, SystemError> {
        match self.peek().clone() {
            Token::Name(name) => {
                self.place += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// One level deeper.
    pub fn deep(&self, depth: usize) -> Result<usize, SystemError> {
        if depth >= MAX_NESTING {
            return Err(SystemError::TooDeep { position: self.position(), limit: MAX_NESTING });
        }
        Ok(depth + 1)
    }

    /// Elements with commas in between.
    pub fn list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, SystemError>,
    ) -> Result<Vec<T>, SystemError> {
        let mut found = vec![element(self)?];
        while self.accept(",") {
            found.push(element(self)?);
        }
        Ok(found)
    }

    /// `+`, `-` or nothing.
    pub fn charge(&mut self) -> Charge {
        if self.accept("+") {
            Charge::Positive
        } else if self.accept("-") {
            Charge::Negative
        } else {
            Charge::Neutral
        }
    }

    /// A membrane's label.
    pub fn label(&mut self) -> Result<Label, SystemError> {
        let position = self.position();
        let name = self.peek().label();
        if name.is_empty() {
            return Err(self.unexpected("a membrane's label"));
        }
        self.place += 1;
        Ok(Label { name, position })
    }

    /// `#`, or objects with commas in between.
    pub fn objects(&mut self) -> Result<Objects, SystemError> {
        if self.accept("#") {
            return Ok(Vec::new());
        }
        self.list(Self::object)
    }

    /// `a{i,j}*n`.
    pub fn object(&mut self) -> Result<Object, SystemError> {
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

    /// Sums and products of numbers and names.
    pub fn expression(&mut self, depth: usize) -> Result<Expression, SystemError> {
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

    /// A number, a name, or what stands in parentheses.
    pub fn factor(&mut self, depth: usize) -> Result<Expression, SystemError> {
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
}
