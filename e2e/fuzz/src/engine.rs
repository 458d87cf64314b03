//! Histories of events: the compiler against the oracle and against itself, and down to the simulated kernel.

use palisade_view::KeyHasher;

use crate::generate::{self, Choices, PACKET_BYTES};
use crate::{kernels, properties};

/// Compiled views are the oracle, steps lead where the end leads, order does not matter.
pub(crate) fn compiler(bytes: &[u8]) {
    let history = generate::history(bytes);
    held(properties::views_agree(history.clone(), &packets(bytes, 64)));
    held(properties::order_does_not_matter(history.clone(), seed(bytes)));
    held(properties::steps_lead_where_the_end_leads(history));
}

/// What the plan makes of the views makes kernels judge as the oracle. The first byte says how many events come at a
/// time.
pub(crate) fn kernel(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let batch = 1 + choices.below(8);
    let history = generate::history(choices.rest());
    let scratch = u32::try_from(seed(bytes) >> 32).expect("32 bits");
    held(kernels::agree(history.chunks(batch).map(<[_]>::to_vec), &packets(bytes, 64), scratch));
}

fn held(result: Result<(), String>) {
    if let Err(what) = result {
        panic!("{what}");
    }
}

/// A number that the bytes decide and that says nothing of them: which packets are tried is no matter of coverage.
fn seed(bytes: &[u8]) -> u64 {
    let key = KeyHasher::new("fuzz").bytes(bytes).finish();
    key.0[..8].iter().fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

fn packets(bytes: &[u8], count: usize) -> Vec<[u8; PACKET_BYTES]> {
    let mut state = seed(bytes) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 32).expect("32 bits").to_be_bytes()
    };
    (0..count).map(|_| next()).collect()
}
