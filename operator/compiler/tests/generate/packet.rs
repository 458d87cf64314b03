//! Packets between the ends that a cluster has, and strangers.

use std::net::IpAddr;

use palisade_compiler::model::Cluster;
use palisade_view::{L4, Packet, Protocol};

use super::choices::Choices;

/// Addresses that packets come from and go to: pods', nodes' and strangers', of both families.
pub(crate) const ADDRESSES: [&str; 18] = [
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.3",
    "10.0.1.5",
    "10.0.2.1",
    "10.0.2.2",
    "10.0.2.3",
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.9",
    "198.51.100.1",
    "fd00:1::1",
    "fd00:1::2",
    "fd00:2::1",
    "fd00:2::2",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::9",
];

/// Bytes that decide a packet.
pub(crate) const PACKET_BYTES: usize = 4;

/// The ends that packets are drawn from: mostly the addresses of pods, which policy is about, and some of everything.
#[derive(Clone, Debug)]
pub(crate) struct Ends([Vec<IpAddr>; 2]);

impl Ends {
    /// Those of a cluster.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let pods: Vec<IpAddr> = cluster.pods.values().flat_map(|pod| pod.addresses.iter().copied()).collect();
        let all = ADDRESSES.iter().map(|text| text.parse().expect("an address"));
        // Thrice: pods are what policy is about.
        let choice: Vec<IpAddr> = pods.iter().chain(&pods).chain(&pods).copied().chain(all).collect();
        let (v4, v6) = choice.into_iter().partition(|address: &IpAddr| address.is_ipv4());
        Self([v4, v6])
    }

    /// A packet of either family.
    pub(crate) fn packet(&self, bytes: [u8; PACKET_BYTES]) -> Packet {
        let mut choices = Choices::new(&bytes);
        let (source, destination, l4) = (choices.byte(), choices.byte(), choices.byte());
        // Two thirds are IPv4, as most addresses are.
        let ends = &self.0[usize::from(choices.below(3) == 2)];
        let end = |byte: u8| ends[usize::from(byte) % ends.len()];
        Packet { source: end(source), destination: end(destination), l4: transport(l4) }
    }
}

/// A transport: mostly what policies and pods name, some beside it.
fn transport(byte: u8) -> L4 {
    const NAMED: [u16; 4] = [80, 53, 79, 81];
    const BESIDE: [u16; 6] = [0, 22, 54, 78, 82, u16::MAX];
    const OTHERS: [u8; 3] = [1, 58, 253];
    let [tcp, udp, sctp] = Protocol::ALL;
    let byte = usize::from(byte);
    match byte % 45 {
        at @ 0..24 => L4::Port([tcp, udp, tcp, udp, tcp, sctp][at / 4], NAMED[at % 4]),
        at @ 24..42 => L4::Port(Protocol::ALL[(at - 24) / 6], BESIDE[(at - 24) % 6]),
        at => L4::Other(OTHERS[at - 42]),
    }
}
