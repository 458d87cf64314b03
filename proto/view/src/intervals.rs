//! Sets of ports as sorted, disjoint, inclusive intervals.

/// A set of ports. Canonical: sorted, disjoint, and no two intervals touch, so that equal sets are equal values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Intervals(Vec<(u16, u16)>);

impl Intervals {
    /// No port.
    pub const NONE: Self = Self(Vec::new());

    /// Every port, 0 included: a packet may carry it.
    pub fn all() -> Self {
        Self(vec![(0, u16::MAX)])
    }

    /// The ports from `start` to `end`, both included. A reversed range is empty.
    pub fn range(start: u16, end: u16) -> Self {
        if start <= end { Self(vec![(start, end)]) } else { Self::NONE }
    }

    /// The union of any ranges, in any order, overlapping or not. Reversed ranges count as empty.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(start, end)| start <= end).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
        for (start, end) in sorted {
            match merged.last_mut() {
                Some(last) if u32::from(start) <= u32::from(last.1) + 1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// The intervals, sorted.
    pub fn as_slice(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// Whether no port is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every port is in the set.
    pub fn is_all(&self) -> bool {
        self.0 == [(0, u16::MAX)]
    }

    /// Whether the port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|&(start, _)| start <= port);
        after > 0 && port <= self.0[after - 1].1
    }

    /// Ports in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        Self::from_ranges(self.0.iter().chain(&other.0).copied())
    }

    /// Ports in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(&&(a, b)), Some(&&(c, d))) = (left.peek(), right.peek()) {
            let (start, end) = (a.max(c), b.min(d));
            if start <= end {
                both.push((start, end));
            }
            if b <= d {
                left.next();
            } else {
                right.next();
            }
        }
        Self(both)
    }

    /// Ports in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = 0_u32;
        for &(start, end) in &self.0 {
            if let Some(before) = start.checked_sub(1)
                && next <= u32::from(before)
            {
                // `next` is at most `before`, hence a port.
                gaps.push((u16::try_from(next).unwrap_or(u16::MAX), before));
            }
            next = u32::from(end) + 1;
        }
        if let Ok(start) = u16::try_from(next) {
            gaps.push((start, u16::MAX));
        }
        Self(gaps)
    }
}

impl FromIterator<(u16, u16)> for Intervals {
    fn from_iter<T: IntoIterator<Item = (u16, u16)>>(ranges: T) -> Self {
        Self::from_ranges(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set() -> impl Strategy<Value = Vec<(u16, u16)>> {
        let port = prop_oneof![0_u16..12, (u16::MAX - 6)..=u16::MAX];
        prop::collection::vec((port.clone(), port), 0..5)
    }

    fn holds(ranges: &[(u16, u16)], port: u16) -> bool {
        ranges.iter().any(|&(start, end)| start <= port && port <= end)
    }

    proptest! {
        #[test]
        fn set_algebra_agrees_with_membership(a in set(), b in set()) {
            let (x, y) = (Intervals::from_ranges(a.clone()), Intervals::from_ranges(b.clone()));
            for port in (0..16).chain(u16::MAX - 10..=u16::MAX) {
                let (p, q) = (holds(&a, port), holds(&b, port));
                prop_assert_eq!(x.contains(port), p);
                prop_assert_eq!(x.union(&y).contains(port), p || q);
                prop_assert_eq!(x.intersection(&y).contains(port), p && q);
                prop_assert_eq!(x.difference(&y).contains(port), p && !q);
            }
            for result in [x.union(&y), x.intersection(&y), x.difference(&y)] {
                prop_assert_eq!(Intervals::from_ranges(result.as_slice().to_vec()), result);
            }
        }
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(Intervals::from_ranges([(3, 4), (1, 2)]).as_slice(), [(1, 4)]);
        assert_eq!(Intervals::all().difference(&Intervals::NONE), Intervals::all());
        assert!(Intervals::range(5, 4).is_empty());
    }
}
