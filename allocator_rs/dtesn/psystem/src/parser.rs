//! From words to statements.
//!
//! The subset: `@model<name>` (or `@variant<name>`), modules `def name(parameters) { … }` of which `main` is run, `@mu`,
//! `@mout = label`, `@ms(label) =` and `+=`, `let`, `call`, rules, groups `{ … } : ranges;`, and ranges `low <= i <= high`. Rules are those of
//! P systems with active membranes as P-Lingua writes them; evolution rules of transition P systems may besides say `(u, out)`,
//! `(u, in label)` and `@d` on the right, and any rule may be led by its priority in parentheses, 1 the highest. Of P-Lingua 5
//! besides: `@include` of the two models that are built in, calls without `call`, and `[u []'h1 --> v [w]'h1]'h`.

use crate::cursor::Cursor;
use crate::error::{Position, SystemError};
use crate::lexer::Token;
use crate::syntax::{Module, Nest, Range, Statement, Text};

/// Definitions of models that a text may include.
const MODELS: [&str; 2] = ["transition_model.pli", "membrane_division_model.pli"];

/// Read a text.
pub fn parse(text: &str) -> Result<Text, SystemError> {
    let mut parser = Cursor::new(text)?;
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
            Token::At(word) if word == "include" => parser.include()?,
            Token::Name(word) if word == "def" => modules.push(parser.module()?),
            _ => return Err(parser.unexpected("@model, @include or def")),
        }
    }
}

impl Cursor {
    /// P-Lingua 5 includes the definition of a model; those of the subset are built in.
    fn include(&mut self) -> Result<(), SystemError> {
        self.next();
        match self.peek() {
            Token::Text(name) if MODELS.contains(&name.as_str()) => {
                self.next();
                Ok(())
            }
            _ => Err(self.unexpected(&MODELS.map(|name| format!("{name:?}")).join(" or "))),
        }
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
            // pLinguaCore's P-Lingua has it for spiking systems alone; here any system may name its output membrane.
            Token::At(word) if word == "mout" => {
                self.next();
                self.sign("=")?;
                Statement::Output(self.label()?)
            }
            Token::At(word) if word == "ms" => self.contents()?,
            Token::Name(word) if word == "let" => {
                self.next();
                let name = self.name("a variable")?;
                self.sign("=")?;
                Statement::Let(name, self.expression(0)?)
            }
            Token::Name(word) if word == "call" && *self.after() != Token::Sign("(") => {
                self.next();
                self.call(position)?
            }
            // P-Lingua 5 calls without a word; no rule begins so.
            Token::Name(_) if *self.after() == Token::Sign("(") => self.call(position)?,
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

    fn call(&mut self, position: Position) -> Result<Statement, SystemError> {
        let name = self.name("a module")?;
        self.sign("(")?;
        let arguments = if self.is(")") { Vec::new() } else { self.list(|parser| parser.expression(0))? };
        self.sign(")")?;
        Ok(Statement::Call { name, arguments, position })
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
}
