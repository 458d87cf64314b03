//! Fuzz targets: what must hold whatever the bytes.
//!
//! A target takes any bytes and panics where something does not hold. `make fuzz` drives them by libFuzzer, which
//! looks for bytes that reach new code; `cargo test` runs them over what was found (`regressions/`) and over some
//! random bytes. Knows nothing of libFuzzer.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a target fails")]

mod engine;
#[path = "../../../operator/compiler/tests/generate/mod.rs"]
mod generate;
mod intake;
mod json;
#[path = "../../tests/system/kernels.rs"]
mod kernels;
mod patch;
#[path = "../../../operator/compiler/tests/properties/mod.rs"]
mod properties;
mod samples;
#[path = "../../tests/system/mod.rs"]
mod system;
mod widening;
mod wire;

/// A property of any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 5] = [
    ("compiler", engine::compiler),
    ("kernel", engine::kernel),
    ("intake", intake::intake),
    ("wire", wire::wire),
    ("patch", patch::patch),
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
