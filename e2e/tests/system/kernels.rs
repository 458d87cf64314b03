//! What must hold of every history of events: the simulated kernels are the oracle. Property tests and fuzz targets share
//! it; what is wrong comes back as a text.

use palisade_compiler::model::{Cluster, Event};
use palisade_compiler::oracle::{self, Flow};
use palisade_ruleset::judge;
use palisade_ruleset::kernel::TracePacket;
use palisade_view::Packet;

use super::generate::{Ends, PACKET_BYTES};
use super::system::System;

/// Once the batches are taken in, every packet is judged by the kernels on its way as by the oracle, whatever scratch
/// value it arrives with.
pub(crate) fn agree(
    batches: impl IntoIterator<Item = impl IntoIterator<Item = Event>>,
    packets: &[[u8; PACKET_BYTES]],
    scratch: u32,
) -> Result<(), String> {
    let mut system = System::default();
    let mut cluster = Cluster::default();
    for batch in batches {
        let batch: Vec<Event> = batch.into_iter().collect();
        for event in batch.clone() {
            cluster.apply(event);
        }
        system.apply(batch);
    }
    // One that takes nothing in must not agree with itself.
    if *system.cluster() != cluster {
        return Err(format!("the system has another cluster: {:#?}\n{cluster:#?}", system.cluster()));
    }
    let ends = Ends::of(&cluster);
    for (number, &packet) in (0_u32..).zip(packets) {
        let packet = ends.packet(packet);
        let Packet { source, destination, l4 } = packet;
        let (Some(from), Some(to)) = (system.end(source), system.end(destination)) else { continue };
        let flow = Flow { source, destination, l4, source_node: None, destination_node: None };
        let judgement = oracle::judge(system.cluster(), &flow);
        // Some of them small, as TOS makes them and identifiers are.
        let scratch = scratch.rotate_left(number) >> (number % 32);
        // Pods do not send ND or MLD to each other: an ICMPv6 packet here is an echo request.
        let trace = judge(from, to, &TracePacket::new(packet).with_scratch(scratch));
        if trace.allows() != judgement.allowed() {
            return Err(format!(
                "{packet}, scratch {scratch:x}: {judgement}\n{trace:#?}\n{:#?}",
                system.cluster()
            ));
        }
    }
    Ok(())
}
