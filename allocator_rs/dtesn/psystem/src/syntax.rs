//! What a text says, before its parameters and ranges are put in.

use crate::error::Position;
use crate::model::Charge;

/// A number that depends on parameters.
#[derive(Debug, Clone)]
pub enum Expression {
    Number(i64),
    Name(String, Position),
    /// Operator, and both sides.
    Binary(char, Box<(Expression, Expression)>, Position),
}

/// A label: a name, or a number.
#[derive(Debug, Clone)]
pub struct Label {
    pub name: String,
    pub position: Position,
}

/// `a{i,j}*n`.
#[derive(Debug, Clone)]
pub struct Object {
    pub name: String,
    pub indices: Vec<Expression>,
    pub times: Option<Expression>,
    pub position: Position,
}

pub type Objects = Vec<Object>;

/// What stands on the right of an evolution.
#[derive(Debug, Clone)]
pub enum Product {
    Here(Object),
    Out(Objects),
    Into(Objects, Label),
    Dissolve,
}

/// `+[a, b]'h`, or bare objects.
#[derive(Debug, Clone)]
pub struct Bracket {
    pub charge: Charge,
    pub inside: Objects,
    pub label: Option<Label>,
}

#[derive(Debug, Clone)]
pub enum Body {
    /// `+[u --> v]'h`.
    Evolve { charge: Charge, left: Objects, right: Vec<Product>, label: Label },
    /// Objects around and a membrane, to objects around and up to two membranes.
    Transform { around: Objects, before: Bracket, label: Label, after: Vec<Bracket>, left_over: Objects },
}

#[derive(Debug, Clone)]
pub struct RuleText {
    pub priority: Option<Expression>,
    pub body: Body,
    pub position: Position,
}

/// `low <= name <= high`.
#[derive(Debug, Clone)]
pub struct Range {
    pub name: String,
    pub low: Expression,
    /// Whether `low` itself is left out.
    pub above: bool,
    pub high: Expression,
    pub below: bool,
}

/// A membrane of `@mu`.
#[derive(Debug, Clone)]
pub struct Nest {
    pub charge: Charge,
    pub label: Label,
    pub inner: Vec<Nest>,
}

#[derive(Debug, Clone)]
pub enum Statement {
    Structure(Nest),
    /// `@mout = h`.
    Output(Label),
    Contents {
        label: Label,
        objects: Objects,
        add: bool,
        ranges: Vec<Range>,
    },
    Let(String, Expression),
    Call {
        name: String,
        arguments: Vec<Expression>,
        position: Position,
    },
    Rule {
        rule: RuleText,
        ranges: Vec<Range>,
    },
    Group {
        statements: Vec<Statement>,
        ranges: Vec<Range>,
    },
}

#[derive(Debug, Clone)]
pub struct Module {
    pub name: String,
    pub parameters: Vec<String>,
    pub statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
pub struct Text {
    pub model: String,
    pub modules: Vec<Module>,
}
