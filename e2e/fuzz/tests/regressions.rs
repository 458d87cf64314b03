//! The fuzz targets as ordinary tests: over what fuzzing once found, and over some random bytes, so that a target that
//! always fails does not wait for the next hour of fuzzing.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use palisade_fuzz::{TARGETS, target};

/// Inputs of random bytes for each target.
const RANDOM: u64 = 300;

#[test]
fn what_was_found_stays_fixed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut ran = 0;
    for of_target in std::fs::read_dir(&directory).expect("the directory") {
        let of_target = of_target.expect("an entry").path();
        let name = of_target.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let target = target(&name).unwrap_or_else(|| panic!("{name} is no target"));
        for input in std::fs::read_dir(&of_target).expect("a directory for each target") {
            let input = input.expect("an entry").path();
            println!("{}", input.display());
            target(&std::fs::read(&input).expect("an input"));
            ran += 1;
        }
    }
    assert!(ran > 0, "no inputs in {}", directory.display());
}

/// Bytes of xorshift64.
fn random(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    };
    let length = 16 + usize::from(u16::from_be_bytes([next()[0], next()[1]])) % 1000;
    (0..length).map(|_| next()[2]).collect()
}

#[test]
fn targets_hold_for_random_bytes() {
    for (name, target) in TARGETS {
        println!("{name}");
        target(&[]);
        (1..=RANDOM).for_each(|seed| target(&random(seed)));
    }
}
