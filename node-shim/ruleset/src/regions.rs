//! Networks to disjoint address intervals: the kernel's interval maps refuse overlaps, policies nest networks
//! freely. Knows addresses only; what a network stands for is the caller's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use palisade_view::Family;

/// An address as a number; the two families are never mixed.
pub(crate) fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The inverse of [`to_number`] for a number that came from an address of the family.
pub(crate) fn to_address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from(number).into(),
    }
}

/// An interval of addresses, both ends included, whose longest network is the one at the given position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: u128,
    pub(crate) end: u128,
    /// Position in the list of networks.
    pub(crate) network: usize,
}

/// A list of networks, cut into regions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions {
    /// Sorted, disjoint. A network that longer ones cover whole has no region.
    pub(crate) regions: Vec<Region>,
    /// For each network the longest other network that holds it.
    pub(crate) parents: Vec<Option<usize>>,
}

impl Regions {
    /// Cuts distinct networks of one family that are sorted by address, then by length.
    pub(crate) fn of(networks: &[IpNet]) -> Self {
        let mut cut = Cut::default();
        let mut parents = Vec::with_capacity(networks.len());
        for (position, network) in networks.iter().enumerate() {
            let (start, end) = (to_number(network.network()), to_number(network.broadcast()));
            cut.close_before(start);
            parents.push(cut.open.last().map(|&(_, parent)| parent));
            cut.emit_until(start.checked_sub(1));
            cut.next = Some(start);
            cut.open.push((end, position));
        }
        cut.close_before_end();
        Self { regions: cut.regions, parents }
    }

    /// The longest network that holds an address.
    pub(crate) fn network_of(&self, address: u128) -> Option<usize> {
        let after = self.regions.partition_point(|region| region.start <= address);
        let region = self.regions[..after].last()?;
        (address <= region.end).then_some(region.network)
    }
}

/// The sweep over sorted networks: those that are open at the present address, innermost last.
#[derive(Default)]
struct Cut {
    regions: Vec<Region>,
    /// Last address and position.
    open: Vec<(u128, usize)>,
    /// The first address not yet given to a region; `None` beyond the last address there is.
    next: Option<u128>,
}

impl Cut {
    /// Gives everything from `next` to `last` to the innermost open network.
    fn emit_until(&mut self, last: Option<u128>) {
        if let (Some(&(_, network)), Some(start), Some(end)) = (self.open.last(), self.next, last)
            && start <= end
        {
            self.regions.push(Region { start, end, network });
        }
    }

    fn close_innermost(&mut self) {
        if let Some(&(end, _)) = self.open.last() {
            self.emit_until(Some(end));
            self.next = end.checked_add(1);
            self.open.pop();
        }
    }

    fn close_before(&mut self, start: u128) {
        while self.open.last().is_some_and(|&(end, _)| end < start) {
            self.close_innermost();
        }
    }

    fn close_before_end(&mut self) {
        while !self.open.is_empty() {
            self.close_innermost();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(networks: &[IpNet]) -> Vec<(String, usize)> {
        let family = Family::of(networks[0].network());
        let name = |number| to_address(family, number);
        Regions::of(networks)
            .regions
            .iter()
            .map(|region| (format!("{}-{}", name(region.start), name(region.end)), region.network))
            .collect()
    }

    #[test]
    fn an_exception_cuts_its_network_in_two() {
        let networks = nets(&["10.0.0.0/8", "10.1.0.0/16"]);
        let expected =
            [("10.0.0.0-10.0.255.255", 0), ("10.1.0.0-10.1.255.255", 1), ("10.2.0.0-10.255.255.255", 0)];
        assert_eq!(shown(&networks), expected.map(|(text, n)| (text.to_owned(), n)));
    }

    #[test]
    fn both_ends_of_the_address_space_are_reached() {
        let networks =
            nets(&["::/1", "8000::/1", "ffff::/16", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]);
        let regions = Regions::of(&networks).regions;
        assert_eq!((regions[0].start, regions.last().unwrap().end), (0, u128::MAX));
        assert_eq!(regions.iter().map(|region| region.network).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_network_covered_whole_has_no_region() {
        let networks = nets(&["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"]);
        assert_eq!(shown(&networks).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 2]);
    }

    proptest! {
        #[test]
        fn regions_are_the_longest_match(
            raw in prop::collection::btree_set((0_u32..64, 26_u8..=32), 1..12),
            probe in 0_u32..80,
        ) {
            let networks: BTreeSet<IpNet> = raw
                .iter()
                .map(|&(low, length)| IpNet::new(Ipv4Addr::from(low).into(), length).unwrap().trunc())
                .collect();
            let networks: Vec<IpNet> = networks.into_iter().collect();
            let cut = Regions::of(&networks);
            prop_assert!(cut.regions.windows(2).all(|pair| pair[0].end < pair[1].start));
            let address: IpAddr = Ipv4Addr::from(probe).into();
            let longest = (0..networks.len())
                .filter(|&n| networks[n].contains(&address))
                .max_by_key(|&n| networks[n].prefix_len());
            prop_assert_eq!(cut.network_of(u128::from(probe)), longest);
            for (n, parent) in cut.parents.iter().enumerate() {
                let expected = (0..networks.len())
                    .filter(|&m| m != n && networks[m].contains(&networks[n]))
                    .max_by_key(|&m| networks[m].prefix_len());
                prop_assert_eq!(*parent, expected);
            }
        }
    }
}
