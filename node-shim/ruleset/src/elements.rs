//! Everything that stands in the table's sets and maps, in compact typed form. Knows what each holds, not how it is
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade_view::{Family, Program, Protocol};

use crate::place::Twice;
use crate::regions;

/// The content of every set and map. Addresses of both families share a table; the family picks the kernel's map.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Elements {
    /// Address -> class.
    pub(crate) peer: BTreeMap<IpAddr, u32>,
    /// First and last address -> class.
    pub(crate) cidr: BTreeMap<(IpAddr, IpAddr), u32>,
    pub(crate) out: BTreeSet<IpAddr>,
    pub(crate) ingress: BTreeSet<IpAddr>,
    /// By [`Question`](crate::names::Question): (subject, class) -> program.
    pub(crate) decide: [BTreeMap<(IpAddr, u32), u32>; 3],
    /// By [`Question`](crate::names::Question): subject -> program.
    pub(crate) default: [BTreeMap<IpAddr, u32>; 3],
    /// Subject -> program.
    pub(crate) hairpin: BTreeMap<Twice, u32>,
    pub(crate) allow_all: BTreeSet<u32>,
    pub(crate) allow_port: BTreeSet<(u32, u8, u16)>,
    /// By position in [`Protocol::ALL`]: program, first and last port of two at least.
    pub(crate) allow_range: [BTreeSet<(u32, u16, u16)>; 3],
    pub(crate) allow_other: BTreeSet<u32>,
    pub(crate) revision: u128,
    pub(crate) generation: u128,
}

impl Elements {
    /// Adds what a program allows. A program that allows nothing has no element: falling through denies.
    pub(crate) fn program(&mut self, id: u32, program: &Program) {
        if program.is_all() {
            self.allow_all.insert(id);
            return;
        }
        for (protocol, ranges) in Protocol::ALL.into_iter().zip(&mut self.allow_range) {
            for &(start, end) in program.of(protocol).as_slice() {
                if start == end {
                    self.allow_port.insert((id, protocol.number(), start));
                } else {
                    ranges.insert((id, start, end));
                }
            }
        }
        if program.other {
            self.allow_other.insert(id);
        }
    }

    /// How many elements there are, markers aside.
    pub(crate) fn count(&self) -> usize {
        let rows: usize = self.decide.iter().map(BTreeMap::len).sum();
        let defaults: usize = self.default.iter().map(BTreeMap::len).sum();
        let ranges: usize = self.allow_range.iter().map(BTreeSet::len).sum();
        let programs = self.allow_all.len() + self.allow_port.len() + ranges + self.allow_other.len();
        let peers = self.peer.len() + self.cidr.len();
        rows + defaults + programs + peers + self.out.len() + self.ingress.len() + self.hairpin.len()
    }

    /// The class of the interval that holds an address.
    pub(crate) fn cidr_class(&self, address: IpAddr) -> Option<u32> {
        let last = regions::to_address(Family::of(address), u128::MAX);
        let (&(start, end), &class) = self.cidr.range(..=(address, last)).next_back()?;
        // The families sort apart: an interval of the other one never holds the address.
        (start <= address && address <= end).then_some(class)
    }
}
