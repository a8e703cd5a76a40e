//! Runs traces through the allocator and through what it is compared with, and prints JSON.
//!
//! `simulation arrivals TRACE_DIR [SEEDS [LOAD_PERCENT [CARD_TYPES]]]`
//! `simulation cache TRACE_DIR|- [SEEDS]`
//! `simulation churn TRACE_DIR [SEEDS [MOVES]]`
//! `simulation vectors COUNT [INSTANCES [ROUNDS]]`

use std::path::Path;
use std::process::ExitCode;

mod arrivals;
mod baseline;
mod cache;
mod churn;
mod error;
mod trace;
mod vectors;

pub use error::SimulationError;

const FIRST_SEED: u64 = 42;

fn run(arguments: &[String]) -> Result<serde_json::Value, SimulationError> {
    let [command, directory, rest @ ..] = arguments else {
        return Err(SimulationError::Usage);
    };
    let number = |at: usize, default: u64| match rest.get(at) {
        Some(text) => text.parse().map_err(|_| SimulationError::Usage),
        None => Ok(default),
    };
    match command.as_str() {
        "arrivals" => {
            let seeds = FIRST_SEED..FIRST_SEED.saturating_add(number(0, 10)?);
            let mut trace = trace::read(Path::new(directory))?;
            let kinds = usize::try_from(number(2, 0)?).map_err(|_| SimulationError::Usage)?;
            if kinds > 0 {
                trace::bind(&mut trace, kinds, FIRST_SEED);
            }
            arrivals::compare(&trace, number(1, 130)?, seeds)
        }
        "cache" => {
            let trace = (directory != "-").then(|| trace::read(Path::new(directory))).transpose()?;
            cache::compare(trace.as_ref(), FIRST_SEED..FIRST_SEED.saturating_add(number(0, 10)?))
        }
        "churn" => {
            let seeds = FIRST_SEED..FIRST_SEED.saturating_add(number(0, 10)?);
            churn::compare(&trace::read(Path::new(directory))?, number(1, 100)?, seeds)
        }
        "vectors" => {
            let count = directory.parse().map_err(|_| SimulationError::Usage)?;
            vectors::compare(count, number(0, 20)?, number(1, 20_000)?)
        }
        _ => Err(SimulationError::Usage),
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
