//! The cache counts, survives a restart, and does not believe a damaged file.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bseries::{Cache, Counters, NAMES, Number, Series, Tableau, tableau};

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

/// A cache with one series, its file and what is in it.
fn stored(directory: &Path) -> (Arc<Series>, PathBuf, Vec<u8>) {
    let series = Cache::new(Some(directory.to_owned())).unwrap().get(&tableau("gauss4").unwrap(), 4).unwrap();
    let file = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&file).unwrap();
    (series, file, good)
}

/// What is in the file must count as a miss, and be written anew.
fn is_missed(directory: &Path, file: &Path, bad: &[u8], series: &Arc<Series>, good: &[u8]) {
    fs::write(file, bad).unwrap();
    let cache = Cache::new(Some(directory.to_owned())).unwrap();
    assert_eq!(cache.get(&tableau("gauss4").unwrap(), 4).unwrap(), *series);
    assert_eq!(cache.counters(), counters(0, 0, 1), "{bad:?}");
    assert_eq!(fs::read(file).unwrap(), good);
}

#[test]
fn a_damaged_file_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (series, file, good) = stored(directory.path());
    for length in 0..good.len() {
        is_missed(directory.path(), &file, &good[..length], &series, &good);
        for change in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[length] ^= change;
            is_missed(directory.path(), &file, &bad, &series, &good);
        }
    }
    is_missed(directory.path(), &file, &[good.as_slice(), &[0]].concat(), &series, &good);
}

#[test]
fn a_file_of_another_version_tableau_or_order_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (series, file, good) = stored(directory.path());
    let before =
        "echoplane b-series 1\n1/4 1/4-1/6*sqrt(3) ; 1/4+1/6*sqrt(3) 1/4 ; 1/2 1/2\n4\n1\n1/2\n0000000000000000\n";
    is_missed(directory.path(), &file, before.as_bytes(), &series, &good);
    // Whole files, but of something else.
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, order) in [("gauss4", 3), ("radau-iia3", 4)] {
        let cache = Cache::new(Some(elsewhere.path().join(name))).unwrap();
        cache.get(&tableau(name).unwrap(), order).unwrap();
        let other = fs::read_dir(elsewhere.path().join(name)).unwrap().next().unwrap().unwrap().path();
        is_missed(directory.path(), &file, &fs::read(other).unwrap(), &series, &good);
    }
}

#[test]
fn numbers_of_any_length_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let long = |text: &str| Number::parse(text).unwrap();
    let digits = "9".repeat(90);
    let (part, rest) = (long(&format!("-1/{digits}")), long(&format!("1{}/{digits}", "0".repeat(90))));
    let method = Tableau::new(&[vec![], vec![part.clone()]], &[part, rest], None).unwrap();
    let computed = Series::new(&method, 10).unwrap();
    let cached = || Cache::new(Some(directory.path().to_owned())).unwrap();
    assert_eq!(*cached().get(&method, 10).unwrap(), computed);
    let again = cached();
    assert_eq!(*again.get(&method, 10).unwrap(), computed);
    assert_eq!(again.counters(), counters(0, 1, 0));
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
