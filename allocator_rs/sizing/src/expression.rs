//! The regular expressions that quantisation configs name modules with, matched without going back: a name's positions are bits of
//! one number, and whoever asks says how many steps it may take.

/// Longest expression that is read.
const MAX_BYTES: usize = 1_024;
/// Groups inside each other.
const MAX_DEPTH: usize = 16;
/// Longest name that is matched: its positions and its end are bits.
const MAX_NAME_BYTES: usize = 127;

#[derive(Debug, Clone)]
enum Node {
    /// One of these bytes.
    Bytes(Box<[bool; 256]>),
    /// The name's beginning, or its end.
    Begin,
    End,
    /// One behind the other.
    All(Vec<Node>),
    /// One of several.
    Any(Vec<Node>),
    /// At least so often (0 or 1), at most once or without end.
    Repeated {
        node: Box<Node>,
        needed: bool,
        endless: bool,
    },
}

/// An expression that must match from the name's beginning, as `re.match` does.
#[derive(Debug, Clone)]
pub struct Expression(Node);

impl Expression {
    /// Read literals, `.`, classes, groups, alternatives, `*`, `+` and `?`; None for whatever else there is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut parser = Parser { text: text.as_bytes(), at: 0 };
        let node = parser.alternatives(0)?;
        (parser.at == parser.text.len()).then_some(Self(node))
    }

    /// Whether it matches a beginning of the name; no longer where the steps run out.
    pub fn matches(&self, name: &str, steps: &mut u64) -> bool {
        name.len() <= MAX_NAME_BYTES && advance(&self.0, 1, name.as_bytes(), steps) != 0
    }
}

/// Where a node's matches end that begin at `from`.
fn advance(node: &Node, from: u128, name: &[u8], steps: &mut u64) -> u128 {
    let Some(rest) = steps.checked_sub(1) else { return 0 };
    *steps = rest;
    match node {
        Node::Bytes(taken) => name.iter().enumerate().fold(0, |ends, (at, byte)| {
            let here = from.checked_shr(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0) & 1 == 1;
            let taken = taken.get(usize::from(*byte)).copied().unwrap_or(false);
            if here && taken { ends | bit(at.saturating_add(1)) } else { ends }
        }),
        Node::Begin => from & 1,
        Node::End => from & bit(name.len()),
        Node::All(nodes) => nodes.iter().fold(from, |at, node| advance(node, at, name, steps)),
        Node::Any(nodes) => nodes.iter().fold(0, |ends, node| ends | advance(node, from, name, steps)),
        Node::Repeated { node, needed, endless } => {
            let mut last = advance(node, from, name, steps);
            let mut ends = if *needed { last } else { last | from };
            while *endless && last != 0 {
                last = advance(node, last, name, steps) & !ends;
                ends |= last;
            }
            ends
        }
    }
}

fn bit(at: usize) -> u128 {
    u32::try_from(at).ok().and_then(|at| 1_u128.checked_shl(at)).unwrap_or(0)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at = self.at.saturating_add(usize::from(there));
        there
    }

    fn alternatives(&mut self, depth: usize) -> Option<Node> {
        let mut found = vec![self.sequence(depth)?];
        while self.skip(b'|') {
            found.push(self.sequence(depth)?);
        }
        Some(if found.len() == 1 { found.pop()? } else { Node::Any(found) })
    }

    fn sequence(&mut self, depth: usize) -> Option<Node> {
        let mut found = Vec::new();
        while self.peek().is_some_and(|byte| byte != b'|' && byte != b')') {
            let node = self.atom(depth)?;
            found.push(self.repeated(node));
        }
        Some(Node::All(found))
    }

    fn repeated(&mut self, node: Node) -> Node {
        let (needed, endless) = match self.peek() {
            Some(b'*') => (false, true),
            Some(b'+') => (true, true),
            Some(b'?') => (false, false),
            _ => return node,
        };
        self.at = self.at.saturating_add(1);
        // How greedy it is changes nothing of whether it matches.
        self.skip(b'?');
        Node::Repeated { node: Box::new(node), needed, endless }
    }

    fn atom(&mut self, depth: usize) -> Option<Node> {
        match self.take()? {
            b'^' => Some(Node::Begin),
            b'$' => Some(Node::End),
            b'.' => Some(bytes(|_| true)),
            b'[' => self.class(),
            b'\\' => escaped(self.take()?),
            b'(' if depth < MAX_DEPTH => {
                if self.skip(b'?') && !self.skip(b':') {
                    return None;
                }
                let node = self.alternatives(depth.saturating_add(1))?;
                self.skip(b')').then_some(node)
            }
            b'*' | b'+' | b'?' | b'{' | b'(' => None,
            byte => Some(bytes(|other| other == byte)),
        }
    }

    fn class(&mut self) -> Option<Node> {
        let negated = self.skip(b'^');
        let mut ranges = Vec::new();
        loop {
            let begin = match self.take()? {
                b']' if !ranges.is_empty() => break,
                b'\\' => self.take().filter(|byte| !byte.is_ascii_alphanumeric())?,
                byte => byte,
            };
            let is_range = self.peek() == Some(b'-') && self.text.get(self.at.saturating_add(1)) != Some(&b']');
            let end = if is_range && self.skip(b'-') { self.take()? } else { begin };
            ranges.push((begin, end));
        }
        Some(bytes(|byte| ranges.iter().any(|(begin, end)| (*begin..=*end).contains(&byte)) != negated))
    }
}

fn escaped(byte: u8) -> Option<Node> {
    match byte {
        b'd' => Some(bytes(|byte| byte.is_ascii_digit())),
        b'w' => Some(bytes(|byte| byte.is_ascii_alphanumeric() || byte == b'_')),
        byte if byte.is_ascii_alphanumeric() => None,
        byte => Some(bytes(|other| other == byte)),
    }
}

fn bytes(taken: impl Fn(u8) -> bool) -> Node {
    let mut table = Box::new([false; 256]);
    for (byte, slot) in (0..=u8::MAX).zip(table.iter_mut()) {
        *slot = taken(byte);
    }
    Node::Bytes(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, name: &str) -> bool {
        Expression::parse(text).is_some_and(|expression| expression.matches(name, &mut 10_000))
    }

    #[test]
    fn what_configs_write_is_matched() {
        for (text, name) in [
            (".*self_attn.*", "model.layers.0.self_attn.q_proj"),
            (r"model\.layers\.[0-2]\.mlp", "model.layers.2.mlp.up_proj"),
            (r".*\.(gate|up)_proj$", "model.layers.3.mlp.up_proj"),
            (r"^lm_head$", "lm_head"),
            (r"layers\.\d+\.mlp\.experts\.(?:\d+)\.w[13]", "layers.12.mlp.experts.7.w3"),
            (r"a[^.]+b?c", "axxxc"),
            ("", "anything"),
        ] {
            assert!(matches(text, name), "{text} {name}");
        }
        for (text, name) in [
            (r"layers\.1\.", "layers.11.mlp"),
            (r".*\.(gate|up)_proj$", "mlp.up_proj.bias"),
            ("mlp", "model.mlp"),
            (r"\d+$", "12a"),
        ] {
            assert!(!matches(text, name), "{text} {name}");
        }
    }

    #[test]
    fn what_is_not_read_says_so() {
        for text in ["(", "a{2}", "(?!x)", "[", r"\b", "*", "a)", &"(".repeat(40), &"a".repeat(2_000)] {
            assert!(Expression::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn no_expression_takes_long() {
        let expression = Expression::parse(&format!("({})*x", "((a*)*)*".repeat(50)));
        let mut steps = 1_000;
        assert!(expression.is_some_and(|found| !found.matches(&"a".repeat(127), &mut steps)));
        assert_eq!(steps, 0);
    }
}
