//! Texts: what is read is printed, and errors say where.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use psystem::{MAX_TEXT, Position, System, SystemError, Thresholds, health_text};

const EVERYTHING: &str = "@model<mixed>
def main()
{
    @mu = [+[[]'3]'2-[]'2[]'4]'1;
    @mout = 2;
    @ms(1) = a, b{1,2}*3;
    @ms(2) = c;
    [a --> b{1,2}*2, (a, out), (a, c*2, in 2), (c, in 4)]'1;
    (1) [a --> #]'1;
    (2) +[c --> c, @d]'2;
    a*2 -[]'2 --> +[c]'2;
    +[c]'2 --> -[]'2 a, c;
    [a]'3 --> c;
    [a]'4 --> +[a]'4 -[]'4;
}
";

fn fault(text: &str) -> String {
    System::parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_printed_is_what_was_read() {
    let health = health_text(Thresholds { error: 5, slow: 6, drift: 7 }, 3).unwrap();
    for text in [EVERYTHING, include_str!("data/sat.pli"), &health] {
        let system = System::parse(text).unwrap();
        let printed = system.to_string();
        assert_eq!(System::parse(&printed).unwrap().to_string(), printed);
    }
    assert_eq!(System::parse(EVERYTHING).unwrap().to_string(), EVERYTHING);
}

#[test]
fn parameters_ranges_and_groups_expand() {
    let text = "def pair(n, m) { { [a{i,j} --> a{j,i}*(i+1)]'1; } : 1 <= i < n, i <= j <= m; }
                def main() { let k = 2*2-1; @mu = []'1; @ms(1) += a{i,i} : 1 <= i <= 2; call pair(k, 3); }";
    let system = System::parse(text).unwrap();
    assert_eq!(system.rules.len(), 5);
    assert_eq!(system.rule(&system.rules[1]), "[a{1,2} --> a{2,1}*2]'1");
    assert_eq!(system.membranes[0].contents.len(), 2);
}

#[test]
fn what_p_lingua_5_says_otherwise_is_read_too() {
    let five = "@include \"transition_model.pli\" @model<transition> def main() { squares(2); }
                def squares(n) { @mu = [[]'2 []'3]'1; @ms(1) = a*n;
                                 [a []'2 []'3 --> b [c*2]'2 []'3]'1; [b []'2 --> [b]'2]'1; }";
    let plain = "@model<transition> def main() { @mu = [[]'2[]'3]'1; @ms(1) = a*2;
                 [a --> b, (c*2, in 2), (#, in 3)]'1; [b --> (b, in 2)]'1; }";
    let [five, plain] = [five, plain].map(|text| System::parse(text).map_err(|error| error.to_string()));
    assert!(plain.is_err(), "nothing cannot be sent by name");
    let five = five.unwrap();
    assert_eq!(five.rule(&five.rules[0]), "[a --> b, (c*2, in 2)]'1");
    assert_eq!(five.rule(&five.rules[1]), "[b --> (b, in 2)]'1");
    let other = "def main() { @mu = [[]'2 []'3]'1; [a []'2 --> b [c]'3]'1; }";
    assert_eq!(fault(other), "line 1, column 53: found 3, expected '2, as on the left");
    let included = "@include \"other.pli\" def main() { @mu = []'1; }";
    assert!(fault(included).starts_with("line 1, column 10: found \"other.pli\", expected \"transition_model.pli\""));
    assert_eq!(fault("@include \"transition"), "line 1, column 10: a text has no end");
}

#[test]
fn errors_say_where() {
    let cases = [
        ("def main() { @mu = []'1; [a --> b]'7; }", "line 1, column 36: there is no membrane '7"),
        ("def main() { @mu = []'1;\n @ms(x) = a; }", "line 2, column 6: there is no membrane 'x"),
        ("def main() { @mu = []'1; [a --> (b, in 2)]'1; }", "line 1, column 40: there is no membrane '2"),
        ("def main() { @mu = []'1; [a -> b]'1; }", "line 1, column 29: found \"-\", expected \"-->\""),
        ("def main() {\n @mu = [;", "line 2, column 9: found \";\", expected \"[\""),
        ("def main() { @mu = []'1; [ --> b]'1; }", "line 1, column 28: found \"-->\", expected an object"),
        ("def main() { @mu = []'1; [# --> b]'1; }", "line 1, column 26: a rule that takes nothing would never end"),
        ("def main() { @mu = []'1; [a --> @d]'1; }", "line 1, column 26: the skin neither dissolves nor divides"),
        ("def main() { @mu = []'1; a []'1 --> [b]'1; }", "line 1, column 26: nothing is sent into the skin"),
        ("def main() { @mu = []'1; [a{k} --> b]'1; }", "line 1, column 29: \"k\" has no value here"),
        ("def main() { @mu = []'1; @ms(1) = a*(0-1); }", "line 1, column 35: a multiplicity is negative"),
        ("def main() { @mu = []'1; (0) [a --> b]'1; }", "line 1, column 26: a priority is 1 or more"),
        ("def main() { @mu = []'1; @mu = []'2; }", "line 1, column 35: @mu stands twice"),
        ("def main() { @mu = []'1; @mout = 2; }", "line 1, column 34: there is no membrane '2"),
        ("def main() { @mu = []'1; @mout = 1; @mout = 1; }", "line 1, column 45: @mout stands twice"),
        ("def main() { @mu = []'1; @mout = ; }", "line 1, column 34: found \";\", expected a membrane's label"),
        ("def main() { @ms(1) = a; }", "line 1, column 1: there is no @mu"),
        ("def other() { }", "line 1, column 1: there is no module \"main\""),
        ("def main() { call f(1); } def f() { }", "line 1, column 14: \"f\" takes 0 arguments, not 1"),
        (
            "def main() { @mu = []'1; [a]'1 --> [b]'1 [c]'1 [d]'1; }",
            "line 1, column 26: this is none of: send in, send out, dissolve, divide",
        ),
        ("def main() { @mu = [[]'2]'1; [a]'2 --> [b]'1 [c]'2; }", "line 1, column 44: the rule is of membrane '2"),
        ("def main() { /* @mu = []'1; }", "line 1, column 14: a comment has no end"),
        ("def main() { @mu = []'99999999999999999999; }", "line 1, column 23: a number is over 63 bits"),
        ("def main() { \u{3c0} }", "line 1, column 14: '\u{3c0}' means nothing here"),
        ("", "line 1, column 1: there is no module \"main\""),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |count: usize| format!("def main() {{ @mu = {}{}; }}", "[".repeat(count), "]'1".repeat(count));
    assert!(System::parse(&deep(64)).is_ok());
    let at = Position { line: 1, column: 84 };
    assert_eq!(System::parse(&deep(65)), Err(SystemError::TooDeep { position: at, limit: 64 }));
    assert!(matches!(System::parse(&deep(100_000)), Err(SystemError::TooDeep { .. })));
    let sum = format!("def main() {{ let x = {}1; }}", "(".repeat(100_000));
    assert!(matches!(System::parse(&sum), Err(SystemError::TooDeep { .. })));
    let minus = format!("def main() {{ let x = {}1; }}", "-".repeat(100_000));
    assert!(System::parse(&minus).is_err());
    let groups = format!("def main() {{ {}", "{".repeat(100_000));
    assert!(matches!(System::parse(&groups), Err(SystemError::TooDeep { .. })));
}

#[test]
fn expansion_is_bounded() {
    let ranges = "def main() { @mu = []'1; [a{i,j} --> b]'1 : 1 <= i <= 1000000, 1 <= j <= 1000000; }";
    assert!(matches!(System::parse(ranges), Err(SystemError::TooLarge { .. })));
    let calls = "def main() { call main(); @mu = []'1; }";
    assert!(matches!(System::parse(calls), Err(SystemError::TooDeep { .. })));
    let doubling = "def f() { call f(); call f(); call f(); call f(); } def main() { @mu = []'1; call f(); }";
    assert!(System::parse(doubling).is_err());
    let symbols = "def main() { @mu = []'1; @ms(1) = a{i} : 1 <= i <= 20000; }";
    assert!(matches!(System::parse(symbols), Err(SystemError::TooLarge { .. })));
    let long = " ".repeat(MAX_TEXT + 1);
    assert!(matches!(System::parse(&long), Err(SystemError::TooLarge { .. })));
}

#[test]
fn a_long_sum_needs_no_deep_stack() {
    let sum = |length: usize| format!("def main() {{ @mu = []'1; let x = 1{}; @ms(1) = a*x; }}", "+1".repeat(length));
    assert_eq!(System::parse(&sum(64)).unwrap().membranes[0].contents, [(0, 65)]);
    assert!(matches!(System::parse(&sum(30_000)), Err(SystemError::TooDeep { .. })));
}
