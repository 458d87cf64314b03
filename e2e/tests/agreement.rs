//! Random clusters, malformed policies and packets: what the oracle says, what the compiled views say and what the
//! fake kernel makes of the transactions that were actually produced are one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../operator/compiler/tests/generate/mod.rs"]
mod generate;
#[path = "system/kernels.rs"]
mod kernels;
#[path = "../../operator/compiler/tests/generate/strategy.rs"]
mod strategy;
mod system;

use proptest::prelude::*;
use strategy::cases;

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn oracle_and_kernels_agree_on_a_cluster(
        history in strategy::history(),
        packets in strategy::packets(60),
        scratch in any::<u32>(),
    ) {
        let history = generate::history(&history);
        kernels::agree([history], &packets, scratch).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn oracle_and_kernels_agree_event_by_event(
        history in strategy::history(),
        packets in strategy::packets(60),
        scratch in any::<u32>(),
    ) {
        let history = generate::history(&history).into_iter().map(|event| [event]);
        kernels::agree(history, &packets, scratch).map_err(TestCaseError::fail)?;
    }
}
