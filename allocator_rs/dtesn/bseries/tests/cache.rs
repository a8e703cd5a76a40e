//! The cache counts, survives a restart, and does not believe a damaged file.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::fs;

use bseries::{Cache, Counters, NAMES, tableau};

fn counters(memory_hits: u64, disk_hits: u64, misses: u64) -> Counters {
    Counters { memory_hits, disk_hits, misses }
}

#[test]
fn hits_and_misses_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let cache = Cache::new(Some(path.clone())).unwrap();
    for name in NAMES {
        let method = tableau(name).unwrap();
        let first = cache.get(&method, 6).unwrap();
        assert_eq!(first, cache.get(&method, 6).unwrap());
    }
    assert_eq!(cache.counters(), counters(13, 0, 13));
    let again = Cache::new(Some(path)).unwrap();
    for name in NAMES {
        let method = tableau(name).unwrap();
        assert_eq!(again.get(&method, 6).unwrap(), cache.get(&method, 6).unwrap());
    }
    assert_eq!(again.counters(), counters(0, 13, 0));
    assert!(again.get(&tableau("rk4").unwrap(), 11).is_err());
    assert_eq!(again.counters(), counters(0, 13, 0));
}

#[test]
fn a_damaged_file_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let method = tableau("gauss4").unwrap();
    let series = Cache::new(Some(directory.path().to_owned())).unwrap().get(&method, 4).unwrap();
    let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let good = fs::read_to_string(&file).unwrap();
    for bad in [String::new(), good[..good.len() / 2].to_owned(), good.replace("1/4", "1/5"), "\u{1F333}".to_owned()] {
        fs::write(&file, bad).unwrap();
        let cache = Cache::new(Some(directory.path().to_owned())).unwrap();
        assert_eq!(cache.get(&method, 4).unwrap(), series);
        assert_eq!(cache.counters(), counters(0, 0, 1));
        assert_eq!(fs::read_to_string(&file).unwrap(), good);
    }
}

#[test]
fn memory_alone_is_a_cache_too() {
    let cache = Cache::new(None).unwrap();
    let method = tableau("heun").unwrap();
    cache.get(&method, 4).unwrap();
    cache.get(&method, 5).unwrap();
    cache.get(&method, 4).unwrap();
    assert_eq!(cache.counters(), counters(1, 0, 2));
}
