//! The generators as strategies of proptest, and how many cases are tried.

use proptest::prelude::*;

use super::generate::{HISTORY_BYTES, PACKET_BYTES};

/// That many cases of a property, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
}

/// The bytes of a history.
pub(crate) fn history() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..HISTORY_BYTES)
}

/// The bytes of some packets.
pub(crate) fn packets(count: usize) -> impl Strategy<Value = Vec<[u8; PACKET_BYTES]>> {
    prop::collection::vec(any::<[u8; PACKET_BYTES]>(), count)
}
