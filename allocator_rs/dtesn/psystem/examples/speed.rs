//! Time of a step: `cargo run --release --example speed -p psystem`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use psystem::{Choice, Configuration, System};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 32 membranes, 8 rules each: objects circle within a membrane and between it and the skin.
    let inner: Vec<_> = (2..=32).map(|label| format!("[]'{label}")).collect();
    let mut text = format!("def main() {{ @mu = [{}]'1;", inner.join(""));
    for label in 1..=32 {
        write!(text, " @ms({label}) = a{{0}}*9, a{{3}}*7;")?;
        for object in 0..8 {
            let next = (object + 1) % 8;
            let right = if object == 7 { format!("(a{{{next}}}, out)") } else { format!("a{{{next}}}") };
            let right = if label == 1 { format!("a{{{next}}}") } else { right };
            write!(text, " [a{{{object}}} --> {right}]'{label};")?;
        }
    }
    text += " }";
    let system = Arc::new(System::parse(&text)?);
    let mut best = f64::INFINITY;
    for _ in 0..50 {
        let mut configuration = Configuration::new(Arc::clone(&system));
        let began = Instant::now();
        for _ in 0..1000 {
            configuration.step(&mut Choice::InOrder)?;
        }
        best = best.min(began.elapsed().as_secs_f64() / 1000.0);
    }
    println!("{} rules in 32 membranes: {:.2} us a step", system.rules.len(), best * 1e6);
    Ok(())
}
