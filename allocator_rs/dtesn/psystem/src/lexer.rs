//! Words of a text.

use crate::error::{Position, SystemError};

/// Longer texts are refused, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name.
    Name(String),
    /// A number.
    Number(i64),
    /// `@name`.
    At(String),
    /// `"text"`, on one line.
    Text(String),
    /// `-->`, `<=`, `+=` or a single character.
    Sign(&'static str),
    /// The text is over.
    End,
}

impl Token {
    /// As a label names it; empty where it is none.
    pub fn label(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Number(number) => number.to_string(),
            _ => String::new(),
        }
    }

    /// As an error names it.
    pub fn text(&self) -> String {
        match self {
            Self::Name(name) | Self::Text(name) => format!("{name:?}"),
            Self::Number(number) => number.to_string(),
            Self::At(name) => format!("@{name}"),
            Self::Sign(sign) => format!("{sign:?}"),
            Self::End => "the end".to_owned(),
        }
    }
}

const SIGNS: [&str; 20] =
    ["-->", "<=", "+=", "[", "]", "{", "}", "(", ")", "'", ",", ";", ":", "=", "+", "-", "*", "#", "<", ">"];

/// Cut a text into words with their positions.
pub fn tokens(text: &str) -> Result<Vec<(Token, Position)>, SystemError> {
    if text.len() > MAX_TEXT {
        return Err(SystemError::TooLarge { what: "the text", limit: MAX_TEXT });
    }
    let mut scanner = Scanner { rest: text, position: Position { line: 1, column: 1 } };
    let mut found = Vec::new();
    loop {
        scanner.skip()?;
        let position = scanner.position;
        let token = scanner.next()?;
        let over = token == Token::End;
        found.push((token, position));
        if over {
            return Ok(found);
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
    position: Position,
}

impl<'a> Scanner<'a> {
    /// Go on by some bytes, which end at a character's end.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for symbol in taken.chars() {
            if symbol == '\n' {
                self.position = Position { line: self.position.line + 1, column: 1 };
            } else {
                self.position.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    /// Pass over blanks and comments.
    fn skip(&mut self) -> Result<(), SystemError> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            if self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else {
                    return Err(SystemError::Syntax {
                        position: self.position,
                        what: "a comment has no end".to_owned(),
                    });
                };
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> String {
        let inside = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '_';
        let length = self.rest.find(|symbol: char| !inside(symbol)).unwrap_or(self.rest.len());
        self.take(length).to_owned()
    }

    fn next(&mut self) -> Result<Token, SystemError> {
        let position = self.position;
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        if first.is_ascii_digit() {
            let length = self.rest.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(self.rest.len());
            let digits = self.take(length);
            return digits
                .parse()
                .map(Token::Number)
                .map_err(|_| SystemError::Syntax { position, what: "a number is over 63 bits".to_owned() });
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(Token::Name(self.word()));
        }
        if first == '@' {
            self.take(1);
            return Ok(Token::At(self.word()));
        }
        if first == '"' {
            let length = self.rest[1..].find(['"', '\n']).filter(|end| self.rest[1 + end..].starts_with('"'));
            let Some(length) = length else {
                return Err(SystemError::Syntax { position, what: "a text has no end".to_owned() });
            };
            let taken = self.take(length + 2);
            return Ok(Token::Text(taken[1..=length].to_owned()));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign)) {
            self.take(sign.len());
            return Ok(Token::Sign(sign));
        }
        Err(SystemError::Syntax { position, what: format!("{first:?} means nothing here") })
    }
}
