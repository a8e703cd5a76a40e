//! Time of a step: `cargo run --release --example speed -p network`.

use std::time::Instant;

use network::{Config, Network};
use reservoir::CLASSES;

fn main() -> Result<(), network::NetworkError> {
    for class in &CLASSES {
        let network = Network::new(&Config::of_class(class, 4))?;
        let mut state = vec![0.0; network.units()];
        let inputs: Vec<f32> = (0_u16..4000).map(|place| f32::from(place).sin()).collect();
        let mut best = f64::INFINITY;
        for _ in 0..20 {
            let began = Instant::now();
            network.run(&mut state, &inputs, &[1.0], None)?;
            best = best.min(began.elapsed().as_secs_f64() / 1000.0);
        }
        println!("{} units: {:.1} us a step, state {}", network.units(), best * 1e6, state[0]);
    }
    Ok(())
}
