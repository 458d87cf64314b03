//! Sets of addresses, as sorted ranges of both families: what a list of networks without its exceptions comes to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use palisade_view::Family;

/// First and last address of a range, as numbers.
type Range = (u128, u128);

/// Canonical: sorted, disjoint, and no two ranges touch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Addresses {
    v4: Vec<Range>,
    v6: Vec<Range>,
}

impl Addresses {
    /// Those in one of the networks and in none of the exceptions.
    pub(super) fn of(networks: &[IpNet], except: &[IpNet]) -> Self {
        let of = |family| {
            let ranges = |networks: &[IpNet]| {
                let own = networks.iter().filter(|network| Family::of(network.network()) == family);
                merged(own.map(|network| (number(network.network()), number(network.broadcast()))).collect())
            };
            difference(&ranges(networks), &ranges(except))
        };
        Self { v4: of(Family::V4), v6: of(Family::V6) }
    }

    fn family(&self, family: Family) -> &[Range] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether it has none of a family.
    pub(super) fn lacks(&self, family: Family) -> bool {
        self.family(family).is_empty()
    }

    /// Whether it has every address of both families.
    pub(super) fn is_all(&self) -> bool {
        self.v4 == [(0, u128::from(u32::MAX))] && self.v6 == [(0, u128::MAX)]
    }

    /// Whether the address is in it.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let (ranges, number) = (self.family(Family::of(address)), number(address));
        let after = ranges.partition_point(|&(first, _)| first <= number);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, last)| number <= last)
    }

    /// Whether all of the other is in it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        difference(&other.v4, &self.v4).is_empty() && difference(&other.v6, &self.v6).is_empty()
    }

    /// Whether nothing is in both.
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        [Family::V4, Family::V6].into_iter().all(|family| {
            let (mine, others) = (self.family(family), other.family(family));
            let apart = |a: &Range, b: &Range| a.1 < b.0 || b.1 < a.0;
            mine.iter().all(|a| others.iter().all(|b| apart(a, b)))
        })
    }

    /// The first address of each range.
    pub(super) fn firsts(&self) -> impl Iterator<Item = IpAddr> + '_ {
        // Numbers of IPv4 addresses have 32 bits.
        let v4 =
            self.v4.iter().map(|&(first, _)| Ipv4Addr::from(u32::try_from(first).unwrap_or_default()).into());
        v4.chain(self.v6.iter().map(|&(first, _)| Ipv6Addr::from(first).into()))
    }

    /// How many it has; many are `u128::MAX`.
    pub(super) fn count(&self) -> u128 {
        let sizes = self.v4.iter().chain(&self.v6).map(|(first, last)| (last - first).saturating_add(1));
        sizes.fold(0, u128::saturating_add)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(known) if first <= known.1.saturating_add(1) => known.1 = known.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Both are canonical, and so is the result.
fn difference(from: &[Range], what: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    for &(first, last) in from {
        let mut next = Some(first);
        for &(start, end) in what.iter().filter(|&&(start, end)| start <= last && end >= first) {
            let Some(begin) = next else { break };
            if begin < start {
                left.push((begin, start - 1));
            }
            next = end.checked_add(1).filter(|&after| after <= last);
        }
        if let Some(begin) = next {
            left.push((begin, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(networks: &[&str], except: &[&str]) -> Addresses {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        Addresses::of(&parsed(networks), &parsed(except))
    }

    #[test]
    fn exceptions_are_taken_out_and_neighbours_joined() {
        let set = set(&["10.0.0.0/9", "10.128.0.0/9", "fd00::/16"], &["10.0.1.0/24", "10.0.1.128/25"]);
        let has = |text: &str| set.has(text.parse().unwrap());
        assert_eq!(
            [
                "9.255.255.255",
                "10.0.0.255",
                "10.0.1.0",
                "10.0.1.255",
                "10.0.2.0",
                "10.255.255.255",
                "11.0.0.0"
            ]
            .map(has),
            [false, true, false, false, true, true, false]
        );
        assert!(has("fd00::1") && !has("fd01::"));
        assert_eq!(
            set.firsts().map(|one| one.to_string()).collect::<Vec<_>>(),
            ["10.0.0.0", "10.0.2.0", "fd00::"]
        );
    }

    #[test]
    fn sets_are_compared_as_wholes_whatever_networks_they_are_made_of() {
        assert!(set(&["10.0.0.0/25", "10.0.0.128/25"], &[]).contains(&set(&["10.0.0.0/24"], &[])));
        assert!(!set(&["10.0.0.0/24"], &["10.0.0.7/32"]).contains(&set(&["10.0.0.0/24"], &[])));
        assert!(set(&["10.0.0.0/24"], &["10.0.0.7/32"]).contains(&set(&["10.0.0.0/24"], &["10.0.0.6/31"])));
        assert!(set(&["10.0.0.0/8"], &["10.0.0.0/9", "10.128.0.0/9"]).is_empty());
        assert!(set(&["0.0.0.0/0", "::/0"], &[]).is_all());
        assert!(!set(&["0.0.0.0/0", "::/0"], &["192.0.2.1/32"]).is_all());
        assert!(set(&["0.0.0.0/0"], &["10.0.0.0/8"]).is_disjoint(&set(&["10.0.0.0/9", "::/0"], &[])));
        assert!(set(&["0.0.0.0/0"], &[]).lacks(Family::V6));
        assert_eq!(
            (set(&["10.0.0.0/24"], &["10.0.0.7/32"]).count(), set(&["::/0"], &[]).count()),
            (255, u128::MAX)
        );
    }
}
