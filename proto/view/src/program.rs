//! What is allowed between a subject and one peer in one direction.

use crate::{Intervals, KeyHasher, L4, Protocol};

/// The allowed part of all traffic: destination ports of TCP, UDP and SCTP, and one verdict for every other
/// protocol. What is not allowed is denied. Which rule decided is not part of it (see ARCHITECTURE.md).
///
/// The same type serves as a set of traffic while programs are folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Program {
    /// Allowed TCP destination ports.
    pub tcp: Intervals,
    /// Allowed UDP destination ports.
    pub udp: Intervals,
    /// Allowed SCTP destination ports.
    pub sctp: Intervals,
    /// Whether protocols without ports (ICMP, ESP, ...) are allowed.
    pub other: bool,
}

impl Program {
    /// Nothing is allowed.
    pub const NONE: Self =
        Self { tcp: Intervals::NONE, udp: Intervals::NONE, sctp: Intervals::NONE, other: false };

    /// Everything is allowed.
    pub fn all() -> Self {
        Self { tcp: Intervals::all(), udp: Intervals::all(), sctp: Intervals::all(), other: true }
    }

    /// The given ports of one protocol.
    pub fn ports(protocol: Protocol, ports: Intervals) -> Self {
        let mut program = Self::NONE;
        match protocol {
            Protocol::Tcp => program.tcp = ports,
            Protocol::Udp => program.udp = ports,
            Protocol::Sctp => program.sctp = ports,
        }
        program
    }

    /// The ports of one protocol.
    pub fn of(&self, protocol: Protocol) -> &Intervals {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
            Protocol::Sctp => &self.sctp,
        }
    }

    /// Whether nothing is allowed.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether everything is allowed.
    pub fn is_all(&self) -> bool {
        self.other && self.tcp.is_all() && self.udp.is_all() && self.sctp.is_all()
    }

    /// Whether a packet with this transport is allowed.
    pub fn allows(&self, l4: L4) -> bool {
        match l4 {
            L4::Port(protocol, port) => self.of(protocol).contains(port),
            L4::Other(_) => self.other,
        }
    }

    /// Traffic in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, Intervals::union, |a, b| a || b)
    }

    /// Traffic in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, Intervals::intersection, |a, b| a && b)
    }

    /// Traffic in this and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, Intervals::difference, |a, b| a && !b)
    }

    fn zip(
        &self,
        other: &Self,
        ports: impl Fn(&Intervals, &Intervals) -> Intervals,
        rest: impl Fn(bool, bool) -> bool,
    ) -> Self {
        Self {
            tcp: ports(&self.tcp, &other.tcp),
            udp: ports(&self.udp, &other.udp),
            sctp: ports(&self.sctp, &other.sctp),
            other: rest(self.other, other.other),
        }
    }

    pub(crate) fn hash(&self, hasher: &mut KeyHasher) {
        for protocol in Protocol::ALL {
            let intervals = self.of(protocol).as_slice();
            hasher.u64(intervals.len() as u64);
            for &(start, end) in intervals {
                hasher.u64((u64::from(start) << 16) | u64::from(end));
            }
        }
        hasher.u64(u64::from(self.other));
    }
}
