//! The engine held against the oracle, and against itself, over random clusters.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generate;
mod properties;
#[path = "generate/strategy.rs"]
mod strategy;

use proptest::prelude::*;
use strategy::cases;

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn compiled_views_agree_with_the_oracle(history in strategy::history(), packets in strategy::packets(100)) {
        properties::views_agree(generate::history(&history), &packets).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn event_by_event_is_from_scratch(history in strategy::history()) {
        properties::steps_lead_where_the_end_leads(generate::history(&history)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn order_of_events_does_not_matter(history in strategy::history(), seed in any::<u64>()) {
        properties::order_does_not_matter(generate::history(&history), seed).map_err(TestCaseError::fail)?;
    }
}
