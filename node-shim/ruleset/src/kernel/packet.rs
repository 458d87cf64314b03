//! What the fake kernel's rules can see of a packet.

use palisade_view::{L4, Packet};

/// Where a packet meets the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// On its way through the node.
    Forward,
    /// On its way into the node's own stack.
    Input,
    /// On its way out of the node's own stack.
    Output,
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CtState {
    /// It opens a flow.
    New,
    /// It belongs to a flow that has been answered.
    Established,
    /// It opens a flow that another one announced, or reports an error of one.
    Related,
    /// Connection tracking was told to leave it alone.
    Untracked,
    /// Connection tracking can make nothing of it.
    Invalid,
}

/// A packet with everything beside its addresses and ports that the skeleton could look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracePacket {
    /// Addresses and transport.
    pub packet: Packet,
    /// The flow's state.
    pub ct_state: CtState,
    /// `meta priority` on arrival: what the sender's TOS makes of it, or anything a program on the node set.
    pub scratch: u32,
    /// The `ICMPv6` type, where the packet is one.
    pub icmp6_type: u8,
    /// The IPv6 hop limit, or the IPv4 time to live.
    pub hop_limit: u8,
    /// Whether the packet comes in through the loopback interface.
    pub loopback: bool,
    /// Where the protocol has no ports: the third and fourth byte behind the IP header, where a port would stand
    /// (ICMP's checksum). `None` if the packet ends before.
    pub transport_word: Option<u16>,
}

impl TracePacket {
    /// An ordinary packet that opens a flow: an echo request where it is `ICMPv6`.
    pub fn new(packet: Packet) -> Self {
        Self {
            packet,
            ct_state: CtState::New,
            scratch: 0,
            icmp6_type: 128,
            hop_limit: 64,
            loopback: false,
            transport_word: Some(0),
        }
    }

    /// The same packet with another value in `meta priority`.
    #[must_use]
    pub fn with_scratch(self, scratch: u32) -> Self {
        Self { scratch, ..self }
    }

    pub(super) fn protocol(&self) -> u8 {
        match self.packet.l4 {
            L4::Port(protocol, _) => protocol.number(),
            L4::Other(number) => number,
        }
    }

    pub(super) fn destination_port(&self) -> Option<u16> {
        match self.packet.l4 {
            L4::Port(_, port) => Some(port),
            L4::Other(_) => self.transport_word,
        }
    }
}
