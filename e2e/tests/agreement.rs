//! Random clusters, malformed policies and packets: what the oracle says, what the compiled views say and what the
//! fake kernel makes of the transactions that were actually produced are one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../operator/compiler/tests/generate/mod.rs"]
mod generate;

mod system;

use palisade_compiler::oracle::{self, Flow};
use palisade_ruleset::judge;
use palisade_ruleset::kernel::TracePacket;
use palisade_view::Packet;
use proptest::prelude::*;
use system::System;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn oracle_views_and_kernel_agree(
        history in generate::history(),
        in_one in any::<bool>(),
        packets in prop::collection::vec((generate::address(), generate::address(), generate::l4(), any::<u32>()), 60),
    ) {
        let mut system = System::default();
        if in_one {
            system.apply(history);
        } else {
            for event in history {
                system.apply([event]);
            }
        }
        for (source, destination, l4, scratch) in packets {
            let (source, destination) = (source.of(system.cluster()), destination.of(system.cluster()));
            if source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            let (Some(from), Some(to)) = (system.end(source), system.end(destination)) else { continue };
            let flow = Flow { source, destination, l4, source_node: None, destination_node: None };
            let judgement = oracle::judge(system.cluster(), &flow);
            let packet = Packet { source, destination, l4 };
            // Pods do not send ND or MLD to each other: an ICMPv6 packet here is an echo request.
            let trace = judge(from, to, &TracePacket::new(packet).with_scratch(scratch));
            prop_assert_eq!(
                trace.allows(),
                judgement.allowed(),
                "{}: {}\n{:#?}\n{:#?}",
                packet,
                judgement,
                trace,
                system.cluster()
            );
        }
    }
}
