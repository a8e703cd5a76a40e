//! Live streams: batches, time, saving, and a memory that does not grow.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::sync::Arc;

use network::{Config, Network, NetworkError, Store, Streams};
use reservoir::CLASSES;

fn network(seed: u64) -> Arc<Network> {
    Arc::new(Network::new(&Config { seed, ..Config::of_class(&CLASSES[0], 2) }).unwrap())
}

fn state(streams: &Streams, id: u64) -> Vec<f32> {
    let mut out = vec![0.0; streams.network().units()];
    streams.read(id, &mut out).unwrap();
    out
}

#[test]
fn a_batch_moves_each_stream_as_it_would_alone() {
    let network = network(0);
    let mut streams = Streams::new(Arc::clone(&network), 8, Store::F32).unwrap();
    let ids: Vec<_> = (0..5).map(|_| streams.open().unwrap()).collect();
    let mut alone = vec![vec![0.0; network.units()]; 5];
    for round in 0..10_u8 {
        let inputs: Vec<f32> = (0..10_u8).map(|place| f32::from(round * 10 + place).sin()).collect();
        let steps = [1.0, 0.5, 2.0, 1.0, 7.5];
        streams.step(&ids, &inputs, &steps).unwrap();
        for (number, own) in alone.iter_mut().enumerate() {
            network.step(own, &inputs[2 * number..2 * number + 2], steps[number]).unwrap();
        }
    }
    for (id, own) in ids.iter().zip(&alone) {
        assert_eq!(&state(&streams, *id), own);
    }
}

#[test]
fn stores_of_16_bits_stay_close() {
    for (store, tolerance) in [(Store::F16, 2e-3), (Store::Bf16, 2e-2)] {
        let mut half = Streams::new(network(0), 1, store).unwrap();
        let mut full = Streams::new(network(0), 1, Store::F32).unwrap();
        let (a, b) = (half.open().unwrap(), full.open().unwrap());
        for round in 0..200_u16 {
            let input = [(f32::from(round) * 0.7).sin(), (f32::from(round) * 0.3).cos()];
            half.step(&[a], &input, &[1.0]).unwrap();
            full.step(&[b], &input, &[1.0]).unwrap();
        }
        let apart = state(&half, a).iter().zip(state(&full, b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(apart < tolerance, "{store:?}: {apart}");
    }
}

#[test]
fn what_is_planned_is_what_is_taken() {
    for store in [Store::F32, Store::F16, Store::Bf16] {
        let streams = Streams::new(network(0), 100, store).unwrap();
        assert_eq!(streams.bytes(), 100 * Streams::bytes_per_stream(512, store));
    }
    let plan = reservoir::reservoir(1, 1, reservoir::Settings::default()).unwrap();
    assert_eq!(plan.bytes_per_stream, Streams::bytes_per_stream(512, Store::F32) as u64);
}

#[test]
fn streams_that_are_never_closed_end_in_an_error() {
    let mut streams = Streams::new(network(0), 1000, Store::F16).unwrap();
    let bytes = streams.bytes();
    let refused =
        (0..1_000_000).filter(|_| streams.open() == Err(NetworkError::StreamsFull { capacity: 1000 })).count();
    assert_eq!((refused, streams.bytes(), streams.open_count()), (999_000, bytes, 1000));
}

#[test]
fn a_closed_stream_is_not_mistaken_for_its_successor() {
    let mut streams = Streams::new(network(0), 1, Store::F32).unwrap();
    let old = streams.open().unwrap();
    streams.step(&[old], &[1.0, 1.0], &[1.0]).unwrap();
    streams.close(old).unwrap();
    let new = streams.open().unwrap();
    assert!(state(&streams, new).iter().all(|value| *value == 0.0));
    assert_eq!(streams.close(old), Err(NetworkError::StreamUnknown { id: old }));
    assert_eq!(streams.step(&[old], &[1.0, 1.0], &[1.0]), Err(NetworkError::StreamUnknown { id: old }));
}

#[test]
fn time_goes_forward_only() {
    let mut streams = Streams::new(network(0), 2, Store::F32).unwrap();
    let (a, b) = (streams.open().unwrap(), streams.open().unwrap());
    streams.advance(&[a, b], &[0.1; 4], &[100.0, 5.0]).unwrap();
    let before = state(&streams, b);
    let back = streams.advance(&[b, a], &[0.1; 4], &[6.0, 99.0]);
    assert_eq!(back, Err(NetworkError::TimeReversed { row: 1, position: 99.0, last: 100.0 }));
    let twice = streams.advance(&[a, a], &[0.1; 4], &[101.0, 101.0]);
    assert_eq!(twice, Err(NetworkError::TimeReversed { row: 1, position: 101.0, last: 101.0 }));
    assert_eq!(state(&streams, b), before);
    streams.advance(&[a, a, b], &[0.1; 6], &[101.0, 1e9, 6.5]).unwrap();
    assert_eq!((streams.place(a).unwrap(), streams.place(b).unwrap()), ((1e9, 3), (6.5, 2)));
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(matches!(streams.advance(&[b], &[0.1; 2], &[bad]), Err(NetworkError::TimeStep { row: 0, .. })));
    }
}

#[test]
fn a_network_does_not_change_under_open_streams() {
    let mut streams = Streams::new(network(0), 2, Store::F32).unwrap();
    let id = streams.open().unwrap();
    assert_eq!(streams.replace(network(1)), Err(NetworkError::StreamsLive { open: 1 }));
    streams.close(id).unwrap();
    streams.replace(network(1)).unwrap();
    assert_eq!(streams.network().fingerprint(), network(1).fingerprint());
}

#[test]
fn a_saved_stream_goes_on_where_it_was() {
    for store in [Store::F32, Store::F16, Store::Bf16] {
        let mut streams = Streams::new(network(0), 3, store).unwrap();
        let id = streams.open().unwrap();
        streams.step(&[id, id], &[0.3, -0.4, 0.9, 0.1], &[1.0]).unwrap();
        let saved = streams.save(id).unwrap();
        let back = streams.restore(&saved).unwrap();
        assert_eq!(streams.place(back).unwrap(), (2.0, 2));
        streams.step(&[id, back], &[0.5; 4], &[1.5]).unwrap();
        assert_eq!(state(&streams, id), state(&streams, back));
    }
}

#[test]
fn what_was_not_saved_here_is_refused() {
    let mut streams = Streams::new(network(0), 2, Store::F32).unwrap();
    let id = streams.open().unwrap();
    let saved = streams.save(id).unwrap();
    for length in [0, 7, 39, 40, saved.len() - 1] {
        assert!(matches!(streams.restore(&saved[..length]), Err(NetworkError::Snapshot { .. })), "{length}");
    }
    for place in (0..8).chain(16..saved.len()) {
        let mut damaged = saved.clone();
        damaged[place] ^= 0x40;
        assert!(matches!(streams.restore(&damaged), Err(NetworkError::Snapshot { .. })), "{place}");
    }
    let mut other = Streams::new(network(1), 1, Store::F32).unwrap();
    assert!(matches!(other.restore(&saved), Err(NetworkError::Mismatch { .. })));
    assert_eq!(streams.open_count(), 1);
}

#[test]
fn capacities_are_bounded() {
    for capacity in [0, (1 << 24) + 1, usize::MAX] {
        assert!(matches!(Streams::new(network(0), capacity, Store::F32), Err(NetworkError::Setting { .. })));
    }
}
